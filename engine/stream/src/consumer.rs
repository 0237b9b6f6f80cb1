//! Registered consumers: who may subscribe to a stream's shards.

use weir_protocol::model::{ConsumerName, Timestamp};

use crate::settings::Tags;

/// One registered consumer of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Its name within the stream.
    pub name: ConsumerName,
    /// When it was registered; part of its ARN, in whole seconds.
    pub created: Timestamp,
    /// Where it stands between its registration and its end.
    pub status: ConsumerStatus,
    /// Its tags.
    pub tags: Tags,
    /// Who may use it, as JSON; shown only.
    pub policy: Option<String>,
}

/// Where a consumer stands between its registration and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsumerStatus {
    /// Registered, not usable yet.
    Creating,
    /// In use.
    Active,
    /// On its way out.
    Deleting,
}

impl ConsumerStatus {
    /// AWS's word for it.
    pub const fn aws_name(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Deleting => "DELETING",
        }
    }

    /// From AWS's word.
    pub(crate) fn from_aws_name(name: &str) -> Option<Self> {
        [Self::Creating, Self::Active, Self::Deleting]
            .into_iter()
            .find(|status| status.aws_name() == name)
    }
}
