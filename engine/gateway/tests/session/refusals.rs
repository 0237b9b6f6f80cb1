//! What every operation refuses, text by text, in both encodings. The cases stand in `refusals.txt` and
//! `states.txt`, next to this file; `cases` says how they are written.

use crate::cases;

/// Operations that are about nothing that could be missing.
const ABOUT_NOTHING: [&str; 5] = [
    "CreateStream",
    "DescribeAccountSettings",
    "DescribeLimits",
    "ListStreams",
    "UpdateAccountSettings",
];

/// Operations of which AWS's model says that a state can refuse them, but that only look. What AWS
/// answers them in which state is not known; here they answer in every state.
const ONLY_LOOKING: [&str; 3] = [
    "GetResourcePolicy",
    "ListStreamConsumers",
    "ListTagsForResource",
];

/// Operations that a state refuses, by AWS's model.
const STATE_REFUSES: [&str; 24] = [
    "AddTagsToStream",
    "CreateStream",
    "DecreaseStreamRetentionPeriod",
    "DeleteResourcePolicy",
    "DeleteStream",
    "DisableEnhancedMonitoring",
    "EnableEnhancedMonitoring",
    "IncreaseStreamRetentionPeriod",
    "ListShards",
    "MergeShards",
    "PutResourcePolicy",
    "RegisterStreamConsumer",
    "RemoveTagsFromStream",
    "SplitShard",
    "StartStreamEncryption",
    "StopStreamEncryption",
    "SubscribeToShard",
    "TagResource",
    "UntagResource",
    "UpdateMaxRecordSize",
    "UpdateShardCount",
    "UpdateStreamMode",
    "UpdateStreamRecordDistributionStrategy",
    "UpdateStreamWarmThroughput",
];

#[test]
fn every_operation_refuses_in_the_words_of_aws() {
    let kinds = cases::check("refusals.txt");
    assert_eq!(kinds.len(), 57, "every operation has its cases");
    for (operation, kinds) in kinds {
        let is_refused = kinds.contains("UnknownOperationException");
        let is_found = ABOUT_NOTHING.contains(&operation.as_str()) || is_refused;
        let not_found = kinds.contains("ResourceNotFoundException");
        assert_eq!(
            not_found, !is_found,
            "{operation}, of something that is not there"
        );
    }
}

#[test]
fn every_state_refuses_in_the_words_of_aws() {
    let kinds = cases::check("states.txt");
    for operation in STATE_REFUSES {
        let refused = kinds.get(operation);
        assert!(
            refused.is_some_and(|kinds| kinds.contains("ResourceInUseException")),
            "{operation} has a case of a state that refuses it"
        );
    }
    for operation in ONLY_LOOKING {
        let answered = kinds.get(operation);
        assert!(
            answered.is_some_and(|kinds| kinds.contains("200")),
            "{operation} has a case of a state that lets it look"
        );
    }
}
