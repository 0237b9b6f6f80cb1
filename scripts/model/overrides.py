"""Where AWS's real checks differ from its published model. Each entry says why."""

# What a client sees first when several members are wrong. Existing test suites of emulators were
# measured against AWS and pin this order; members not named here follow in the model's order.
ORDER = {
    "AddTagsToStream": ["Tags", "StreamName"],
    "CreateStream": ["ShardCount", "StreamName"],
    "DecreaseStreamRetentionPeriod": ["RetentionPeriodHours", "StreamName"],
    "DescribeStream": ["Limit", "ExclusiveStartShardId", "StreamName"],
    "GetRecords": ["Limit", "ShardIterator"],
    "GetShardIterator": [
        "ShardId",
        "ShardIteratorType",
        "StartingSequenceNumber",
        "StreamName",
        "StreamARN",
        "Timestamp",
    ],
    "IncreaseStreamRetentionPeriod": ["RetentionPeriodHours", "StreamName"],
    "ListShards": [
        "ExclusiveStartShardId",
        "MaxResults",
        "NextToken",
        "StreamCreationTimestamp",
        "ShardFilter",
        "StreamName",
    ],
    "ListTagsForStream": ["Limit", "ExclusiveStartTagKey", "StreamName"],
    "MergeShards": ["ShardToMerge", "AdjacentShardToMerge", "StreamName"],
    "PutRecord": [
        "SequenceNumberForOrdering",
        "PartitionKey",
        "ExplicitHashKey",
        "Data",
        "StreamName",
    ],
    "PutRecords": ["Records", "StreamName"],
    "RemoveTagsFromStream": ["TagKeys", "StreamName"],
    "SplitShard": ["NewStartingHashKey", "StreamName", "ShardToSplit"],
    "UpdateShardCount": ["ScalingType", "StreamName", "TargetShardCount"],
}

# The same, inside structures.
STRUCTURE_ORDER = {
    "PutRecordsRequestEntry": ["PartitionKey", "ExplicitHashKey", "Data"],
}

# The order in which AWS prints the values of an enum, where suites pin it.
ENUM_ORDER = {
    "ShardIteratorType": [
        "AFTER_SEQUENCE_NUMBER",
        "LATEST",
        "AT_TIMESTAMP",
        "AT_SEQUENCE_NUMBER",
        "TRIM_HORIZON",
    ],
}

# Bounds that the model does not have, or has otherwise: (operation, member) -> (least, most).
NUMBERS = {
    # Outside 24..8760 the service explains itself in its own words; these bounds come before.
    ("DecreaseStreamRetentionPeriod", "RetentionPeriodHours"): (1, 10000),
    ("IncreaseStreamRetentionPeriod", "RetentionPeriodHours"): (1, 10000),
    # Pinned by suites; more than an account may have is refused later, with the account's limit.
    ("UpdateShardCount", "TargetShardCount"): (1, 100000),
}

# Members that the model leaves open and the service demands.
REQUIRED = {
    # There is no other way to name the stream.
    ("UpdateMaxRecordSize", "StreamARN"),
}

# Operations whose stream is named by NextToken as well, so that neither name nor ARN is demanded.
NAMED_OTHERWISE = {"ListShards"}

# Demanded unless the stream spreads its records itself (RecordDistributionStrategy AUTO).
KEYS = {("PutRecord", "PartitionKey"), ("PutRecordsRequestEntry", "PartitionKey")}

# The longest data depends on the stream (MaxRecordSizeInKiB); the model has the highest of all.
RECORD_DATA = "Data"
