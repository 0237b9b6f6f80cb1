//! The gateway of one core: an HTTP request in, an AWS answer out.
//!
//! Owns: the order of checks before an action runs, and the headers of every answer.
//! Never: what operations do; see [`crate::action`].

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use weir_reactor::{Lent, Monotonic, Reactor, Socket};
use weir_stream::Engine;

use crate::action;
use crate::call::{Call, Ids, Reply};
use crate::caller::Caller;
use crate::clock_text;
use crate::document::Value;
use crate::encoding::Encoding;
use crate::error::{ErrorKind, ServiceError};
use crate::failures::Failures;
use crate::http::{
    AnswerBody, BODY_BYTES_MAX, Ceiling, CollectError, Crowd, Hall, Lease, LeasedBody, Tls,
    collect, discard, serve, serve_tls,
};
use crate::identity::{Authentication, Gatekeeper, Identity};
use crate::member::Members;
use crate::model::Operation;
use crate::read_budget::ReadBudget;
use crate::scan;
use crate::seal::Seal;
use crate::sigv4::KeyRing;

/// Longest body that is read of a request whose credentials do not do.
const STRANGERS_BYTES_MAX: usize = 64 * 1024;
/// Longest path and query in bytes. Calls are made to `/`; only presigned ones carry more, of which
/// a session token is the most.
const URI_BYTES_MAX: usize = 8 * 1024;
/// What a request of HTTP/2 costs before its first header line, and each line beside its text: its
/// task, its stream, the table of its headers.
const STREAM_BYTES: usize = 6 * 1024;
const HEADER_LINE_BYTES: usize = 128;
const EVENT_STREAM: &str = "application/vnd.amazon.eventstream";
const PLAIN_JSON: &str = "application/json";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const EXTENDED_ID: HeaderName = HeaderName::from_static("x-amz-id-2");
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
/// Names a protocol of AWS's newer services, which this API is not spoken in.
const OTHER_PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");
const EXPOSED: &str = "x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,\
                       x-amzn-ErrorMessage,Date";
/// How long a browser may remember a preflight's answer, in seconds.
const PREFLIGHT_SECONDS: &str = "172800";

/// What a gateway is told by the server's configuration.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// The account of requests whose access key id is not a 12-digit number itself.
    pub account: String,
    /// The region of requests whose credentials name none.
    pub region: String,
    /// What is demanded of credentials.
    pub authentication: Authentication,
    /// Bytes of requests and answers that one core may hold: room for two of the longest calls at
    /// least. At the ceiling a request is answered with a retryable 500.
    pub body_bytes_max: usize,
    /// Bytes that connections of one core may cost while they are awake: while a request comes in or
    /// is answered. Beyond it they wait in line.
    pub awake_bytes_max: usize,
    /// Bytes of long buffers to receive into; without room for one, short ones do.
    pub receive_bytes_max: usize,
    /// Bytes of records on their way to clients that one core may hold.
    /// While much of it is taken answers are smaller, and in the end they wait.
    pub record_bytes_max: usize,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            account: "000000000000".to_owned(),
            region: "us-east-1".to_owned(),
            authentication: Authentication::default(),
            body_bytes_max: 256 * 1024 * 1024,
            awake_bytes_max: 64 * 1024 * 1024,
            receive_bytes_max: 64 * 1024 * 1024,
            record_bytes_max: 256 * 1024 * 1024,
        }
    }
}

/// What a gateway has counted since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayCounters {
    /// Connections and bodies given up because the client was too slow.
    pub timed_out: u64,
    /// Requests whose credentials did not do.
    pub authentication_failures: u64,
    /// Of them, those that were told so late.
    pub authentication_delayed: u64,
}

/// One core's gateway. A clone is the same gateway.
pub struct Gateway<R: Reactor> {
    shared: Rc<Shared<R>>,
}

impl<R: Reactor> Clone for Gateway<R> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

struct Shared<R: Reactor> {
    engine: Engine<R>,
    hall: Hall<R>,
    gatekeeper: Gatekeeper,
    failures: Failures,
    seal: Seal,
    ids: Ids,
    ceiling: Rc<Ceiling>,
    budget: Rc<ReadBudget>,
    /// The `Date` header and the second it is for.
    date: RefCell<(u64, HeaderValue)>,
}

impl<R: Reactor> Gateway<R> {
    /// The gateway in front of this core's engine.
    pub fn new(engine: Engine<R>, settings: GatewaySettings) -> Self {
        let seal = Seal::new(&engine.seal_key());
        let ids = Ids::new(engine.reactor().random());
        let default = Identity {
            account: settings.account,
            region: settings.region,
        };
        Self {
            shared: Rc::new(Shared {
                ceiling: Ceiling::new(settings.body_bytes_max, engine.spares().clone()),
                budget: ReadBudget::new(settings.record_bytes_max),
                hall: Hall::with_crowd(
                    engine.reactor().clone(),
                    Crowd::new(settings.awake_bytes_max, settings.receive_bytes_max),
                ),
                engine,
                gatekeeper: Gatekeeper::new(settings.authentication, default),
                failures: Failures::default(),
                seal,
                ids,
                date: RefCell::new((u64::MAX, HeaderValue::from_static(""))),
            }),
        }
    }

    /// Memory for records on their way to clients, whatever they speak.
    pub fn record_budget(&self) -> Rc<ReadBudget> {
        Rc::clone(&self.shared.budget)
    }

    /// What happened so far.
    pub fn counters(&self) -> GatewayCounters {
        GatewayCounters {
            timed_out: self.shared.hall.timed_out().so_far(),
            authentication_failures: self.shared.failures.so_far(),
            authentication_delayed: self.shared.failures.late(),
        }
    }

    /// Puts other keys in place of those that signatures are verified with; connections stay.
    pub fn replace_keys(&self, keys: Arc<KeyRing>) {
        self.shared.gatekeeper.replace_keys(keys);
    }

    /// Serves one connection until it ends. When `stop` completes, the request in flight is still
    /// answered and the connection closed.
    pub async fn serve<S: Socket>(
        &self,
        socket: S,
        caller: Rc<Caller>,
        stop: impl Future<Output = ()>,
    ) {
        let service = |request| self.shared.clone().answer(request, caller.clone());
        serve(socket, &self.shared.hall, caller.clone(), service, stop).await;
    }

    /// As [`Gateway::serve`], behind TLS.
    pub async fn serve_tls<S: Socket>(
        &self,
        socket: S,
        tls: &Tls,
        caller: Rc<Caller>,
        stop: impl Future<Output = ()>,
    ) {
        let service = |request| self.shared.clone().answer(request, caller.clone());
        let hall = &self.shared.hall;
        serve_tls(socket, tls, hall, caller.clone(), service, stop).await;
    }
}

/// An answer before the headers that all have.
struct Answer {
    status: StatusCode,
    content_type: Option<&'static str>,
    body: Reply,
    /// Whether the connection must end, because the request's body was not read.
    close: bool,
    /// Whether the credentials did not do.
    is_failure: bool,
}

impl Answer {
    fn document(encoding: Encoding, status: u16, body: Vec<u8>) -> Self {
        Self {
            status: StatusCode::from_u16(status).expect("statuses are constants"),
            ..Self::records(encoding, Reply::Body(body))
        }
    }

    fn records(encoding: Encoding, body: Reply) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: Some(encoding.content_type()),
            body,
            close: false,
            is_failure: false,
        }
    }

    fn error(encoding: Encoding, error: &ServiceError) -> Self {
        Self::document(encoding, error.kind.status(), error.to_body(encoding))
    }

    /// An error that has a name only.
    fn named(encoding: Encoding, kind: ErrorKind) -> Self {
        Self::error(encoding, &ServiceError::without_text(kind))
    }

    fn bare(status: StatusCode, body: &str) -> Self {
        Self {
            status,
            content_type: None,
            body: Reply::Body(body.as_bytes().to_vec()),
            close: false,
            is_failure: false,
        }
    }

    fn events(body: Reply) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: Some(EVENT_STREAM),
            body,
            close: false,
            is_failure: false,
        }
    }

    /// An error of somebody who does not show who it is.
    fn failure(encoding: Encoding, error: &ServiceError) -> Self {
        Self {
            is_failure: true,
            ..Self::error(encoding, error)
        }
    }

    fn closing(mut self) -> Self {
        self.close = true;
        self
    }
}

impl<R: Reactor> Shared<R> {
    async fn answer(
        self: Rc<Self>,
        request: Request<Incoming>,
        caller: Rc<Caller>,
    ) -> Response<AnswerBody> {
        let (head, mut body) = request.into_parts();
        if path_bytes(&head.uri) > URI_BYTES_MAX {
            refuse_body(&head, body, self.engine.reactor()).await;
            return self.dress(Answer::bare(StatusCode::URI_TOO_LONG, "").closing(), false);
        }
        let origin = head.headers.contains_key(header::ORIGIN);
        let preflight = origin && head.method == Method::OPTIONS;
        let mut answer = if preflight {
            Answer::bare(StatusCode::OK, "")
        } else if head.method != Method::POST {
            access_denied()
        } else {
            let reactor = self.engine.reactor();
            // Long bodies of strangers are not held: what they will be told is known.
            let length = body.size_hint().upper();
            let is_long = length.is_none_or(|bytes| bytes > STRANGERS_BYTES_MAX as u64);
            let refusal = is_long.then(|| self.gatekeeper.refuses(&head, reactor));
            let refusal = refusal.flatten();
            let bytes_max = if refusal.is_some() {
                STRANGERS_BYTES_MAX
            } else {
                BODY_BYTES_MAX
            };
            let read = match self.cover(&head) {
                Ok(covered) => collect(&mut body, bytes_max, reactor, &self.ceiling)
                    .await
                    .map(|(body, lease)| (body, [Some(lease), covered])),
                Err(error) => Err(error),
            };
            match read {
                Ok((body, lease)) => self.answer_post(&head, body, lease, &caller).await,
                Err(error) => {
                    refuse_body(&head, body, reactor).await;
                    if error == CollectError::Stalled {
                        self.hall.timed_out().count();
                    }
                    let encoding = Encoding::of_content_type(content_type(&head.headers));
                    let encoding = encoding.unwrap_or(Encoding::Json);
                    match refusal.filter(|_| error == CollectError::TooLong) {
                        Some(refusal) => Answer::failure(encoding, &refusal).closing(),
                        None => unread(encoding, error),
                    }
                }
            }
        };
        let is_late = answer.is_failure && self.failures.count(caller.address(), self.now());
        if is_late && !caller.is_known() {
            answer.close = true;
            if head.version == Version::HTTP_2 {
                caller.turn_away();
            }
        }
        let mut response = self.dress(answer, preflight);
        if origin {
            share(&head.headers, preflight, response.headers_mut());
        }
        drop(head);
        if is_late {
            self.failures.hold_back(self.engine.reactor()).await;
        }
        response
    }

    fn now(&self) -> Monotonic {
        self.engine.monotonic()
    }

    /// Covers the head of a request of HTTP/2, of which one connection may have hundreds. The only
    /// one of HTTP/1.1 has its connection's place.
    fn cover(&self, head: &::http::request::Parts) -> Result<Option<Lease>, CollectError> {
        if head.version != Version::HTTP_2 {
            return Ok(None);
        }
        let lines = head.headers.iter();
        let bytes: usize = lines
            .map(|(name, value)| name.as_str().len() + value.len() + HEADER_LINE_BYTES)
            .sum();
        let path = head
            .uri
            .path_and_query()
            .map_or(0, |path| path.as_str().len());
        let lease = self.ceiling.lease(STREAM_BYTES + path + bytes);
        lease.map(Some).ok_or(CollectError::NoMemory)
    }

    async fn answer_post(
        &self,
        head: &::http::request::Parts,
        body: Lent,
        _held: [Option<Lease>; 2],
        caller: &Caller,
    ) -> Answer {
        let content_type = content_type(&head.headers);
        let target = text(&head.headers, &TARGET);
        let operation = Operation::of_target(target);
        if head.headers.contains_key(OTHER_PROTOCOL) {
            return unknown_operation();
        }
        if let Some(refusal) = refuse_form(content_type, target, operation, body.is_empty()) {
            return refusal;
        }
        let Some(encoding) = Encoding::of_content_type(content_type) else {
            // Plain JSON never gets further than this.
            return match Encoding::Json.parse(&body) {
                Ok(Value::Map(_)) => coral("UnknownOperationException"),
                _ => coral("SerializationException"),
            };
        };
        if let Some(answer) = self
            .put_scanned(head, operation, encoding, &body, caller)
            .await
        {
            return answer;
        }
        let Ok(value) = encoding.parse(&body) else {
            return Answer::named(encoding, ErrorKind::Serialization);
        };
        let members = match Members::of_request(&value, encoding) {
            Ok(members) => members,
            Err(error) => return Answer::error(encoding, &error),
        };
        let Some(operation) = operation else {
            return Answer::named(encoding, ErrorKind::UnknownOperation);
        };
        let identity = match self.identify(head, &body, caller).await {
            Ok(identity) => identity,
            Err(error) => return Answer::failure(encoding, &error),
        };
        let call = self.call(&identity, encoding);
        let result = match operation.check(members, &call.ground(members)) {
            Ok(()) => operation.run(call, members).await,
            Err(error) => Err(error),
        };
        finish(operation, encoding, result)
    }

    /// Answers the call that carries nearly all bytes, if it has the form that SDKs give it.
    async fn put_scanned(
        &self,
        head: &::http::request::Parts,
        operation: Option<Operation>,
        encoding: Encoding,
        body: &[u8],
        caller: &Caller,
    ) -> Option<Answer> {
        let operation = operation.filter(|o| *o == Operation::PutRecords)?;
        let sent = scan::put_records(encoding, body)?;
        let identity = match self.identify(head, body, caller).await {
            Ok(identity) => identity,
            Err(error) => return Some(Answer::failure(encoding, &error)),
        };
        let call = self.call(&identity, encoding);
        let result = action::put_records::answer_scanned(call, sent).await?;
        Some(finish(operation, encoding, result.map(Reply::Body)))
    }

    /// Who asks. Whoever is who it says it is, is no stranger any more.
    async fn identify(
        &self,
        head: &::http::request::Parts,
        body: &[u8],
        caller: &Caller,
    ) -> Result<Identity, ServiceError> {
        let reactor = self.engine.reactor();
        let identity = self.gatekeeper.identify(head, body, reactor).await?;
        caller.becomes_known();
        Ok(identity)
    }

    fn call<'c>(&'c self, identity: &'c Identity, encoding: Encoding) -> Call<'c, R> {
        Call {
            engine: &self.engine,
            seal: &self.seal,
            ids: &self.ids,
            identity,
            encoding,
            ceiling: &self.ceiling,
            budget: &self.budget,
        }
    }

    /// Adds the headers that every answer has.
    fn dress(&self, answer: Answer, preflight: bool) -> Response<AnswerBody> {
        let id = |text: &[u8]| HeaderValue::from_bytes(text).expect("ids are plain ASCII");
        let body = match answer.body {
            Reply::Body(bytes) => AnswerBody::Whole(LeasedBody::new(bytes, &self.ceiling)),
            Reply::Records(bytes, permit) => {
                let spares = self.engine.spares();
                AnswerBody::Whole(LeasedBody::of_records(bytes, permit, spares))
            }
            Reply::Events(events) => AnswerBody::Events(events),
        };
        let mut response = Response::new(body);
        *response.status_mut() = answer.status;
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, id(&self.ids.uuid()));
        if !preflight {
            headers.insert(EXTENDED_ID, id(&self.ids.extended()));
        }
        headers.insert(header::DATE, self.date());
        if let Some(content_type) = answer.content_type {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if answer.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn date(&self) -> HeaderValue {
        let now = self.engine.wall();
        let mut date = self.date.borrow_mut();
        if date.0 != now.as_secs() {
            let text = clock_text::http(now);
            let value = HeaderValue::try_from(text).expect("dates are plain ASCII");
            *date = (now.as_secs(), value);
        }
        date.1.clone()
    }
}

/// The answer for what an action made.
fn finish(operation: Operation, encoding: Encoding, result: Result<Reply, ServiceError>) -> Answer {
    match result {
        Ok(Reply::Body(body)) => Answer::document(encoding, 200, body),
        Ok(body @ Reply::Records(..)) => Answer::records(encoding, body),
        Ok(events @ Reply::Events(_)) => Answer::events(events),
        Err(error) => {
            if error.kind == ErrorKind::InternalFailure {
                let text = error.text.as_deref().unwrap_or_default();
                tracing::warn!(?operation, "{text}");
            }
            Answer::error(encoding, &error)
        }
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h str {
    let value = headers.get(name).and_then(|v| v.to_str().ok());
    value.unwrap_or_default()
}

fn path_bytes(uri: &Uri) -> usize {
    uri.path_and_query().map_or(0, |path| path.as_str().len())
}

/// Takes what a refused request still sends. A client that waits for a 100 has not begun to.
async fn refuse_body<R: Reactor>(head: &::http::request::Parts, body: Incoming, reactor: &R) {
    if !head.headers.contains_key(header::EXPECT) {
        discard(body, reactor).await;
    }
}

/// The content type, without its parameters.
fn content_type(headers: &HeaderMap) -> &str {
    let whole = text(headers, &header::CONTENT_TYPE);
    whole.split(';').next().unwrap_or_default().trim()
}

/// Lets pages of other origins see the answer.
fn share(asked: &HeaderMap, preflight: bool, headers: &mut HeaderMap) {
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    if !preflight {
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED),
        );
        return;
    }
    for (question, answer) in [
        (
            header::ACCESS_CONTROL_REQUEST_HEADERS,
            header::ACCESS_CONTROL_ALLOW_HEADERS,
        ),
        (
            header::ACCESS_CONTROL_REQUEST_METHOD,
            header::ACCESS_CONTROL_ALLOW_METHODS,
        ),
    ] {
        if let Some(value) = asked.get(question) {
            headers.insert(answer, value.clone());
        }
    }
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static(PREFLIGHT_SECONDS),
    );
}

/// Refuses a POST by its content type, its target and its having no body, in AWS's order.
fn refuse_form(
    content_type: &str,
    target: &str,
    operation: Option<Operation>,
    empty: bool,
) -> Option<Answer> {
    let encoding = Encoding::of_content_type(content_type);
    if empty {
        let kind = match operation {
            Some(_) => ErrorKind::Serialization,
            None => ErrorKind::UnknownOperation,
        };
        return Some(Answer::named(encoding.unwrap_or(Encoding::Cbor), kind));
    }
    if encoding.is_some() || content_type.eq_ignore_ascii_case(PLAIN_JSON) {
        return None;
    }
    let names_one = target
        .split_once('.')
        .is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
    Some(if names_one {
        unknown_operation()
    } else {
        access_denied()
    })
}

/// Answers a request whose body was not read to its end; the connection ends with it.
fn unread(encoding: Encoding, error: CollectError) -> Answer {
    match error {
        CollectError::TooLong => Answer::bare(StatusCode::PAYLOAD_TOO_LARGE, ""),
        CollectError::NoMemory => {
            Answer::error(encoding, &ServiceError::internal(error.to_string()))
        }
        CollectError::Stalled => Answer::bare(StatusCode::REQUEST_TIMEOUT, ""),
        CollectError::Broken => Answer::bare(StatusCode::BAD_REQUEST, ""),
    }
    .closing()
}

fn unknown_operation() -> Answer {
    Answer::bare(StatusCode::NOT_FOUND, "<UnknownOperationException/>\n")
}

fn access_denied() -> Answer {
    Answer::bare(
        StatusCode::FORBIDDEN,
        "<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be \
         authorized</Message>\n</AccessDeniedException>\n",
    )
}

/// The old form that plain JSON is answered in; it never gets further than this.
fn coral(name: &str) -> Answer {
    let status = if name == "SerializationException" {
        400
    } else {
        404
    };
    let body = format!(
        "{{\"Output\":{{\"__type\":\"com.amazon.coral.service#{name}\"}},\"Version\":\"1.0\"}}"
    );
    let mut answer = Answer::document(Encoding::Json, status, body.into_bytes());
    answer.content_type = Some(PLAIN_JSON);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = Encoding::Json.content_type();

    fn refusal(content_type: &str, target: &str, empty: bool) -> Option<(u16, String)> {
        let operation = Operation::of_target(target);
        let answer = refuse_form(content_type, target, operation, empty)?;
        let Reply::Body(body) = answer.body else {
            panic!("a whole body was expected")
        };
        let body = String::from_utf8_lossy(&body).into_owned();
        Some((answer.status.as_u16(), body))
    }

    #[test]
    fn forms_are_refused_as_at_aws() {
        let target = "Kinesis_20131202.ListStreams";
        assert_eq!(refusal(JSON, target, false), None);
        assert_eq!(refusal(&JSON.to_uppercase(), target, false), None);
        assert_eq!(refusal("Application/JSON", target, false), None);
        // What the target names is looked at after the body is found to be JSON.
        assert_eq!(refusal(JSON, "Kinesis_20131202.Nonsense", false), None);
        let serialization = r#"{"__type":"SerializationException"}"#.to_owned();
        assert_eq!(refusal(JSON, target, true), Some((400, serialization)));
        let unknown = r#"{"__type":"UnknownOperationException"}"#.to_owned();
        assert_eq!(refusal(JSON, "", true), Some((400, unknown)));
        // Nobody knows what an empty body of no known type is: it is answered in CBOR.
        for (target, name) in [(target, "Serialization"), ("", "UnknownOperation")] {
            let (status, body) = refusal("", target, true).unwrap();
            assert_eq!(status, 400);
            assert!(body.contains(name) && !body.starts_with('{'), "{body}");
        }
        let (status, body) = refusal("text/plain", target, false).unwrap();
        assert_eq!(
            (status, body.as_str()),
            (404, "<UnknownOperationException/>\n")
        );
        let (status, body) = refusal("", "", false).unwrap();
        assert_eq!(status, 403);
        assert!(
            body.starts_with("<AccessDeniedException>\n  <Message>Unable"),
            "{body}"
        );
    }

    #[test]
    fn pages_of_other_origins_may_ask() {
        let mut asked = HeaderMap::new();
        asked.insert(
            header::ACCESS_CONTROL_REQUEST_METHOD,
            HeaderValue::from_static("POST"),
        );
        let mut headers = HeaderMap::new();
        share(&asked, true, &mut headers);
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_METHODS], "POST");
        assert_eq!(headers[header::ACCESS_CONTROL_MAX_AGE], "172800");
        let mut headers = HeaderMap::new();
        share(&asked, false, &mut headers);
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(headers.contains_key(header::ACCESS_CONTROL_EXPOSE_HEADERS));
    }
}
