//! SubscribeToShard over HTTP/2 by prior knowledge, as the Java and JavaScript SDKs do it: many
//! subscriptions on one connection.

use std::time::Duration;

use h2::RecvStream;
use h2::client::SendRequest;
use http::Request;
use hyper::body::Bytes;
use serde_json::{Value, json};

use weir_stream::SubscriptionTimes;

use crate::fan_out::{create, latest, put, quick, register};
use crate::rig::Server;
use crate::subscriber::{Frame, decode};

/// One subscription's stream.
struct Events {
    body: RecvStream,
    received: Vec<u8>,
}

impl Events {
    /// The next frame; `None` when the stream has ended in good order.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = decode(&self.received) {
                self.received.drain(..length);
                return Some(frame);
            }
            let Some(data) = self.body.data().await else {
                assert!(self.received.is_empty(), "the stream ends within a frame");
                return None;
            };
            let data = data.unwrap();
            self.body
                .flow_control()
                .release_capacity(data.len())
                .unwrap();
            self.received.extend_from_slice(&data);
        }
    }

    async fn next_records(&mut self) -> Vec<String> {
        loop {
            let frame = self.next().await.expect("there should be more records");
            if !frame.data().is_empty() {
                return frame.data();
            }
        }
    }
}

async fn connect(server: &Server) -> SendRequest<Bytes> {
    let socket = tokio::net::TcpStream::connect(server.address)
        .await
        .unwrap();
    let (requests, connection) = h2::client::handshake(socket).await.unwrap();
    tokio::spawn(async move {
        let _ended = connection.await;
    });
    requests
}

/// Subscribes; the error is what the server said, as JSON.
async fn subscribe(requests: &SendRequest<Bytes>, arn: &str, shard: u32) -> Result<Events, Value> {
    let mut requests = requests.clone().ready().await.unwrap();
    let request = Request::post("http://weir/")
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", "Kinesis_20131202.SubscribeToShard")
        .header("x-amz-date", "20260101T000000Z")
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/kinesis/aws4_request, \
             SignedHeaders=:authority;x-amz-date;x-amz-target, Signature=0",
        );
    let ask = json!({
        "ConsumerARN": arn,
        "ShardId": format!("shardId-{shard:012}"),
        "StartingPosition": latest(),
    });
    let (answer, mut out) = requests
        .send_request(request.body(()).unwrap(), false)
        .unwrap();
    out.send_data(ask.to_string().into(), true).unwrap();
    let (head, mut body) = answer.await.unwrap().into_parts();
    if head.status != 200 {
        let error = body.data().await.unwrap().unwrap();
        return Err(serde_json::from_slice(&error).unwrap());
    }
    assert_eq!(
        head.headers["content-type"],
        "application/vnd.amazon.eventstream"
    );
    let mut events = Events {
        body,
        received: Vec::new(),
    };
    assert_eq!(events.next().await.unwrap().kind, "initial-response");
    Ok(events)
}

#[test]
fn many_subscriptions_share_a_connection_and_leave_it_one_by_one() {
    // No subscription is taken over here: a place is free because it was left.
    let times = SubscriptionTimes {
        take_over: Duration::from_mins(10),
        ..quick()
    };
    let server = Server::start_with(2, Duration::ZERO, times);
    let mut client = server.connect();
    create(&mut client, 10);
    let consumers: Vec<_> = (0..4)
        .map(|nth| register(&server, &format!("app{nth}")))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let requests = connect(&server).await;
        let mut open = Vec::new();
        for arn in &consumers {
            for shard in 0..10 {
                let events = subscribe(&requests, arn, shard).await.unwrap();
                open.push((shard, events));
            }
        }
        for shard in 0..10 {
            put(&mut client, shard, 10, &format!("to {shard}"));
        }
        for (shard, events) in &mut open {
            assert_eq!(events.next_records().await, [format!("to {shard}")]);
        }
        // While it is held the place is taken; who lets go of the stream frees it at once, whatever
        // the subscription's age.
        let error = subscribe(&requests, &consumers[0], 3).await.err().unwrap();
        assert_eq!(error["__type"], "ResourceInUseException");
        open.retain(|(shard, _)| *shard != 3);
        let patience = tokio::time::timeout(Duration::from_secs(10), async {
            while subscribe(&requests, &consumers[0], 3).await.is_err() {}
        });
        patience.await.expect("the place should be free");
        server.end_subscriptions();
        for (_, events) in &mut open {
            while let Some(frame) = events.next().await {
                assert_eq!(frame.message, "event");
            }
        }
    });
}
