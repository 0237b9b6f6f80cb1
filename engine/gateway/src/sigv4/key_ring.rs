//! The keys that requests may be signed with, as operators keep them: AWS's credentials file.
//!
//! Owns: secrets. They leave as the state of a keyed digest only, and are in no log, no error and no
//! `Debug`.

use std::fmt;

use hmac::{Hmac, KeyInit};
use rustc_hash::{FxHashMap, FxHashSet};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Of a profile's name in an error, this much.
const SHOWN_CHARS_MAX: usize = 64;

/// Most keys in one file.
const KEYS_MAX: usize = 10_000;
/// Longest access key id (AWS: 128 characters).
const KEY_ID_BYTES_MAX: usize = 128;
const SETTINGS: &str =
    "aws_access_key_id, aws_secret_access_key, aws_session_token, aws_account_id";

/// One key: who may use it, and what proves it.
pub(super) struct Key {
    /// HMAC-SHA256 keyed with `AWS4` and the secret.
    pub(super) secret: Hmac<Sha256>,
    /// Digest of the session token that must come along.
    token: Option<[u8; 32]>,
}

impl Key {
    /// Whether the request's session token is the key's. Digests are compared, so that the time it
    /// takes tells nothing about the token.
    pub(super) fn has_token(&self, token: Option<&str>) -> bool {
        self.token == token.map(|token| Sha256::digest(token).into())
    }
}

/// The keys that requests may be signed with.
pub struct KeyRing {
    keys: FxHashMap<String, Key>,
}

/// A key file that says something else than keys. The texts name lines, never what stands there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyRingError {
    /// Neither a profile's name, nor a setting, nor a comment.
    #[error("line {line} is neither \"[profile]\" nor \"name = value\"")]
    Unreadable {
        /// Counted from 1.
        line: usize,
    },
    /// A setting that means nothing here.
    #[error("line {line} sets something that no key has: expected {SETTINGS}")]
    UnknownSetting {
        /// Counted from 1.
        line: usize,
    },
    /// A setting outside of a profile, without a value, or for the second time in it.
    #[error("line {line}: {what}")]
    Misplaced {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A profile that is no key.
    #[error("profile \"{profile}\" {what}")]
    Profile {
        /// Its name.
        profile: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A key of another account than the one whose streams the server keeps.
    #[error(
        "profile \"{profile}\" is of account {account}, but this server keeps the streams of \
         account {served}: leave it out, or serve that account with --account {account}"
    )]
    OtherAccount {
        /// Its name.
        profile: String,
        /// The account that the key is of.
        account: String,
        /// The account that is served.
        served: String,
    },
    /// No profile at all.
    #[error("it holds no key: expected [profile] with {SETTINGS}")]
    Empty,
    /// More than a server takes.
    #[error("it holds more than {KEYS_MAX} keys")]
    TooMany,
}

/// A profile as it stands in the file.
#[derive(Default)]
struct Profile<'t> {
    name: &'t str,
    id: Option<&'t str>,
    secret: Option<&'t str>,
    token: Option<&'t str>,
    account: Option<&'t str>,
}

impl KeyRing {
    /// Reads a file in the form of AWS's `~/.aws/credentials`: profiles with `aws_access_key_id`,
    /// `aws_secret_access_key` and, where they have them, `aws_session_token` and
    /// `aws_account_id`. All keys are of `account`, whose streams the server keeps; a key that
    /// says otherwise is refused.
    pub fn parse(text: &str, account: &str) -> Result<Self, KeyRingError> {
        let mut keys = FxHashMap::default();
        let mut names = FxHashSet::default();
        for profile in profiles(text)? {
            let wrong = |what| KeyRingError::Profile {
                profile: shown(profile.name),
                what,
            };
            if !names.insert(profile.name) {
                return Err(wrong("comes twice"));
            }
            let id = profile
                .id
                .ok_or_else(|| wrong("has no aws_access_key_id"))?;
            let secret = profile.secret;
            let secret = secret.ok_or_else(|| wrong("has no aws_secret_access_key"))?;
            let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
            if id.len() > KEY_ID_BYTES_MAX || !id.bytes().all(legal) {
                return Err(wrong(
                    "has an aws_access_key_id that is not 1 to 128 letters, digits, _, - and .",
                ));
            }
            let of_id = is_account(id).then_some(id);
            if let Some(other) = profile.account.or(of_id).filter(|found| *found != account) {
                if !is_account(other) {
                    return Err(wrong("has an aws_account_id that is not 12 digits"));
                }
                return Err(KeyRingError::OtherAccount {
                    profile: shown(profile.name),
                    account: other.to_owned(),
                    served: account.to_owned(),
                });
            }
            let prefixed = [b"AWS4", secret.as_bytes()].concat();
            let key = Key {
                secret: Hmac::new_from_slice(&prefixed).expect("HMAC takes keys of any length"),
                token: profile.token.map(|token| Sha256::digest(token).into()),
            };
            if keys.insert(id.to_owned(), key).is_some() {
                return Err(wrong("has the aws_access_key_id of another profile"));
            }
            if keys.len() > KEYS_MAX {
                return Err(KeyRingError::TooMany);
            }
        }
        if keys.is_empty() {
            return Err(KeyRingError::Empty);
        }
        Ok(Self { keys })
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn key(&self, id: &str) -> Option<&Key> {
        self.keys.get(id)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({} keys)", self.keys.len())
    }
}

/// A name as a line of a log can bear it: on one line, and no longer than tells it from others.
fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    shown.escape_debug().to_string()
}

/// Whether it is the number of an account.
pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

fn profiles(text: &str) -> Result<Vec<Profile<'_>>, KeyRingError> {
    let mut profiles: Vec<Profile> = Vec::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let (line, at) = (line.trim(), number + 1);
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.strip_suffix(']').map(str::trim);
            let name = name.filter(|name| !name.is_empty());
            profiles.push(Profile {
                name: name.ok_or(KeyRingError::Unreadable { line: at })?,
                ..Profile::default()
            });
            continue;
        }
        let setting = line.split_once('=');
        let (name, value) = setting.ok_or(KeyRingError::Unreadable { line: at })?;
        let misplaced = |what| KeyRingError::Misplaced { line: at, what };
        let profile = profiles.last_mut();
        let profile = profile.ok_or_else(|| misplaced("it stands before the first [profile]"))?;
        let place = match name.trim() {
            "aws_access_key_id" => &mut profile.id,
            "aws_secret_access_key" => &mut profile.secret,
            "aws_session_token" => &mut profile.token,
            "aws_account_id" => &mut profile.account,
            _ => return Err(KeyRingError::UnknownSetting { line: at }),
        };
        let value = value.trim();
        if value.is_empty() {
            return Err(misplaced("it has no value"));
        }
        if place.replace(value).is_some() {
            return Err(misplaced("its profile has that already"));
        }
    }
    Ok(profiles)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVED: &str = "000000000000";

    fn refusal(text: &str) -> String {
        KeyRing::parse(text, SERVED).unwrap_err().to_string()
    }

    #[test]
    fn a_credentials_file_is_a_key_ring() {
        let text = "# who may\r\n[default]\r\naws_access_key_id = AKIDEXAMPLE\r\n\
                    aws_secret_access_key=s/+=cret\r\n\n[ci]\n ; for a day\n\
                    aws_access_key_id=000000000000\naws_secret_access_key=x\n\
                    aws_session_token=t==\naws_account_id=000000000000\n";
        let ring = KeyRing::parse(text, SERVED).unwrap();
        assert_eq!(ring.count(), 2);
        let key = ring.key("AKIDEXAMPLE").unwrap();
        assert!(key.has_token(None) && !key.has_token(Some("t==")));
        let key = ring.key("000000000000").unwrap();
        assert!(key.has_token(Some("t==")));
        assert!(!key.has_token(None) && !key.has_token(Some("t=")) && !key.has_token(Some("")));
        assert!(ring.key("akidexample").is_none());
        assert_eq!(format!("{ring:?}"), "KeyRing(2 keys)");
    }

    #[test]
    fn a_profile_is_told_on_one_short_line() {
        let told = refusal(&format!("[\u{1b}{}]\n", "p".repeat(100_000)));
        assert!(told.len() < 200, "{told}");
        assert!(told.contains("ppp…\" has no aws_access_key_id"), "{told}");
        assert!(!told.contains('\u{1b}'), "{told:?}");
    }

    #[test]
    fn what_is_no_key_is_told_without_its_value() {
        const KEY: &str = "aws_access_key_id=A\naws_secret_access_key=HIDDEN\n";
        for (text, word) in [
            (String::new(), "no key"),
            ("# only\n".to_owned(), "no key"),
            (KEY.to_owned(), "line 1: it stands before"),
            ("[a]\nHIDDEN\n".to_owned(), "line 2 is neither"),
            ("[a\n".to_owned(), "line 1 is neither"),
            ("[]\n".to_owned(), "line 1 is neither"),
            (format!("[a]\n{KEY}HIDDEN=1\n"), "line 4 sets something"),
            (format!("[a]\n{KEY}region=eu\n"), "aws_session_token"),
            ("[a]\naws_access_key_id=\n".to_owned(), "no value"),
            (format!("[a]\n{KEY}{KEY}"), "line 4: its profile has"),
            (
                "[a]\naws_access_key_id=A\n".to_owned(),
                "\"a\" has no aws_secret",
            ),
            (
                "[a]\naws_secret_access_key=HIDDEN\n".to_owned(),
                "no aws_access",
            ),
            (format!("[a]\n{KEY}[a]\n{KEY}"), "\"a\" comes twice"),
            (
                format!("[a]\n{KEY}[b]\n{KEY}"),
                "\"b\" has the aws_access_key_id of",
            ),
            (
                "[a]\naws_access_key_id=A/B\naws_secret_access_key=HIDDEN".to_owned(),
                "not 1 to 128",
            ),
            (format!("[a]\n{KEY}aws_account_id=12\n"), "12 digits"),
            (
                format!("[a]\n{KEY}aws_account_id=111122223333\n"),
                "--account 111122223333",
            ),
            (
                "[a]\naws_access_key_id=111122223333\naws_secret_access_key=HIDDEN".to_owned(),
                "keeps the streams of account 000000000000",
            ),
        ] {
            let said = refusal(&text);
            assert!(said.contains(word), "{word} in {said}");
            assert!(!said.contains("HIDDEN"), "{said}");
        }
    }
}
