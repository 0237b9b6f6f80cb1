"""Asynchronous producers and consumers of others: aiokpl and async-kinesis."""

import asyncio
import logging
import os

import aiobotocore.session
from aiokpl import Config, Producer, decode_aggregated, is_aggregated
from kinesis import Consumer, MemoryCheckPointer
from kinesis import Producer as AsyncProducer
from kinesis.processors import JsonLineProcessor, JsonProcessor, KPLJsonProcessor

from checks import ENDPOINT, REGION, equal, holds, run

# What these libraries log as an error is one.
problems = []


class Problems(logging.Handler):
    def emit(self, record):
        problems.append(record.getMessage())


logging.getLogger().addHandler(Problems(level=logging.WARNING))

CREDENTIALS = {
    "aws_access_key_id": os.environ.get("AWS_ACCESS_KEY_ID", "weir"),
    "aws_secret_access_key": os.environ.get("AWS_SECRET_ACCESS_KEY", "weir"),
}


def connect():
    session = aiobotocore.session.get_session()
    return session.create_client("kinesis", region_name=REGION, endpoint_url=ENDPOINT, **CREDENTIALS)


async def create(client, name, shards, metered=False):
    more = {} if metered else {"StreamModeDetails": {"StreamMode": "ON_DEMAND"}}
    await client.create_stream(StreamName=name, ShardCount=shards, **more)
    waiter = client.get_waiter("stream_exists")
    await waiter.wait(StreamName=name, WaiterConfig={"Delay": 0.1, "MaxAttempts": 100})


async def read_all(client, name):
    found = []
    for shard in (await client.list_shards(StreamName=name))["Shards"]:
        answer = await client.get_shard_iterator(
            StreamName=name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        iterator = answer["ShardIterator"]
        while iterator:
            answer = await client.get_records(ShardIterator=iterator)
            found += [(shard["ShardId"], record) for record in answer["Records"]]
            iterator = answer.get("NextShardIterator")
            if answer["MillisBehindLatest"] == 0 and not answer["Records"]:
                break
            # A metered shard gives five answers a second.
            await asyncio.sleep(0.21)
    return found


async def through_aiokpl(name, shards, records, aggregate, metered=False):
    config = Config(
        region=REGION, endpoint_url=ENDPOINT, aggregation_enabled=aggregate, **CREDENTIALS
    )
    sent = [(f"user {i % 61}", f"event {i}".encode() * 5) for i in range(records)]
    async with connect() as client:
        await create(client, name, shards, metered)
        async with Producer(config) as producer:
            outcomes = [
                await producer.put_record(stream=name, partition_key=key, data=data)
                for key, data in sent
            ]
            await producer.flush()
            async with asyncio.timeout(60):
                results = [await outcome.wait() for outcome in outcomes]
        failed = [result for result in results if not result.success]
        equal(failed, [], "records that aiokpl could not put")
        found = await read_all(client, name)
    # Where it says a record is, there it is, once.
    inner, whole = [], 0
    for shard, record in found:
        place = (shard, record["SequenceNumber"])
        if is_aggregated(record["Data"]):
            for entry in decode_aggregated(record["Data"]):
                inner.append((place, entry.partition_key, entry.data))
        else:
            whole += 1
            inner.append((place, record["PartitionKey"], record["Data"]))
    said = [
        ((result.shard_id, result.sequence_number), key, data)
        for result, (key, data) in zip(results, sent)
    ]
    equal(sorted(inner), sorted(said), "inner records and their places")
    # Every prediction of a shard held: nothing had to be tried twice.
    retried = [result.attempts for result in results if len(result.attempts) != 1]
    if not metered:
        equal(retried, [], "records that took more than one attempt")
    return len(found), whole


def aiokpl_puts_aggregated_records():
    outer, _ = asyncio.run(through_aiokpl("aiokpl", 4, 5_000, aggregate=True))
    holds(outer < 500, "fewer records than were put", outer)


def aiokpl_puts_plain_records():
    outer, whole = asyncio.run(through_aiokpl("aiokpl-plain", 2, 1_000, aggregate=False))
    equal((outer, whole), (1_000, 1_000))


def aiokpl_keeps_to_a_metered_shard():
    asyncio.run(through_aiokpl("aiokpl-metered", 1, 2_500, aggregate=False, metered=True))


async def through_async_kinesis(name, processor, records, shards):
    async with connect() as client:
        await create(client, name, shards)
    places = {"endpoint_url": ENDPOINT, "region_name": REGION}
    async with AsyncProducer(name, processor=processor(), **places) as producer:
        for i in range(records):
            await producer.put({"number": i, "text": "ä" * (i % 50)})
        await producer.flush()
    checkpoints, found = MemoryCheckPointer(name="weir"), []
    async with Consumer(
        name, processor=processor(), checkpointer=checkpoints, shard_fetch_rate=5,
        sleep_time_no_records=0.2, idle_timeout=5, **places,
    ) as consumer:
        async with asyncio.timeout(60):
            async for item in consumer:
                found.append(item["number"])
                if len(found) == records:
                    break
        # Now, since its close races with a fetch of its own and complains of that.
        complaints = list(problems)
    equal(sorted(found), list(range(records)), f"what {processor.__name__} read")
    equal(complaints, [], "what the libraries complained of")
    problems.clear()


def async_kinesis_one_record_each():
    asyncio.run(through_async_kinesis("async-json", JsonProcessor, 1_500, 1))


def async_kinesis_lines_over_shards():
    asyncio.run(through_async_kinesis("async-lines", JsonLineProcessor, 20_000, 3))


def async_kinesis_aggregated():
    asyncio.run(through_async_kinesis("async-kpl", KPLJsonProcessor, 5_000, 2))


def async_kinesis_makes_its_stream():
    async def go():
        async with AsyncProducer(
            "async-made", create_stream=True, create_stream_shards=2,
            endpoint_url=ENDPOINT, region_name=REGION,
        ) as producer:
            equal(len(producer.shards), 2, "shards of the stream it made")
            await producer.put({"first": True}, partition_key="k")
            await producer.flush()
        async with connect() as client:
            found = await read_all(client, "async-made")
            equal([record["Data"] for _, record in found], [b'{"first": true}'])

    asyncio.run(go())


run(
    aiokpl_puts_aggregated_records,
    aiokpl_puts_plain_records,
    aiokpl_keeps_to_a_metered_shard,
    async_kinesis_one_record_each,
    async_kinesis_lines_over_shards,
    async_kinesis_aggregated,
    async_kinesis_makes_its_stream,
)
