//! How an account's settings are written in the catalog: JSON with a version, as streams are.

use serde::{Deserialize, Serialize};
use weir_protocol::model::Timestamp;

use super::entry::{EntryError, VersionOnly};
use crate::settings::{AccountSettings, Commitment};

const ACCOUNT_VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct AccountEntry {
    version: u32,
    is_committed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended_ms: Option<u64>,
}

/// The entry of an account.
pub(crate) fn encode(account: &AccountSettings) -> Vec<u8> {
    let Commitment {
        is_enabled,
        started,
        ended,
    } = account.commitment;
    let entry = AccountEntry {
        version: ACCOUNT_VERSION,
        is_committed: is_enabled,
        started_ms: started.map(Timestamp::as_millis),
        ended_ms: ended.map(Timestamp::as_millis),
    };
    serde_json::to_vec(&entry).expect("plain structs become JSON")
}

/// The settings in an entry.
pub(crate) fn decode(bytes: &[u8]) -> Result<AccountSettings, EntryError> {
    let VersionOnly { version } = serde_json::from_slice(bytes)?;
    if version != ACCOUNT_VERSION {
        let (found, known) = (version, ACCOUNT_VERSION);
        return Err(EntryError::Version { found, known });
    }
    let entry: AccountEntry = serde_json::from_slice(bytes)?;
    Ok(AccountSettings {
        commitment: Commitment {
            is_enabled: entry.is_committed,
            started: entry.started_ms.map(Timestamp::from_millis),
            ended: entry.ended_ms.map(Timestamp::from_millis),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_gives_the_settings_back() {
        let account = AccountSettings {
            commitment: Commitment {
                is_enabled: true,
                started: Some(Timestamp::from_millis(5)),
                ended: None,
            },
        };
        assert_eq!(decode(&encode(&account)).unwrap(), account);
        let error = decode(br#"{"version":2}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "entry version 2, this build reads up to 1"
        );
    }
}
