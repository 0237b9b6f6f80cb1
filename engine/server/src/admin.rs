//! The admin port: is it alive, is it ready, which version, what does it measure.

use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use weir_gateway::Caller;
use weir_gateway::http::{Crowd, Hall, serve};
use weir_reactor::{CoreReactor, Mailbox, Socket, oneshot};
use weir_stream::{CoreCounters, Engine, LogState};

use crate::accept::Refusals;
use crate::commands::version;
use crate::core::CoreLetter;
use crate::metrics::{self, Scrape};
use crate::visitors::Visitors;

/// What connections to these pages may cost while they are awake: dozens of them.
const CROWD_BYTES: usize = 2 << 20;
const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The pages of the admin port, on one core.
#[derive(Clone)]
pub(crate) struct Admin {
    engine: Engine<CoreReactor>,
    cores: Vec<Mailbox<CoreLetter>>,
    visitors: Rc<Visitors>,
    refusals: Refusals,
    hall: Rc<Hall<CoreReactor>>,
}

impl Admin {
    pub(crate) fn new(
        engine: Engine<CoreReactor>,
        cores: Vec<Mailbox<CoreLetter>>,
        visitors: Rc<Visitors>,
        refusals: Refusals,
    ) -> Self {
        Self {
            hall: Rc::new(Hall::with_crowd(
                engine.reactor().clone(),
                Crowd::new(CROWD_BYTES, 0),
            )),
            engine,
            cores,
            visitors,
            refusals,
        }
    }

    /// Serves one connection.
    pub(crate) async fn serve<S: Socket>(
        &self,
        socket: S,
        caller: Rc<Caller>,
        stop: impl Future<Output = ()>,
    ) {
        let service = |request| {
            let admin = self.clone();
            async move { admin.answer(&request).await }
        };
        serve(socket, &self.hall, caller, service, stop).await;
    }

    async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return page(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET here\n");
        }
        match request.uri().path() {
            "/healthz" => page(StatusCode::OK, PLAIN, "alive\n"),
            "/readyz" => self.ready().await,
            "/version" => {
                let text = serde_json::json!({ "name": "weir", "version": version() });
                page(StatusCode::OK, JSON, format!("{text}\n"))
            }
            "/metrics" => match metrics::print(self.scrape().await) {
                Ok(text) => page(StatusCode::OK, OPEN_METRICS, text),
                Err(error) => {
                    let text = format!("the metrics could not be printed: {error}\n");
                    page(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, text)
                }
            },
            _ => {
                let text = "here are /healthz /readyz /version /metrics\n";
                page(StatusCode::NOT_FOUND, PLAIN, text)
            }
        }
    }

    /// Recovered, and every log takes writes; or the reasons why not.
    async fn ready(&self) -> Response<Full<Bytes>> {
        let mut reasons = Vec::new();
        if self.visitors.is_stopping() {
            reasons.push("the server is stopping\n".to_owned());
        }
        let counters = self.engine.all_counters().await;
        for core in 0..self.engine.cores() {
            let found = counters.iter().find(|counters| counters.core == core);
            if let Some(reason) = not_ready(found) {
                reasons.push(format!("core {core}: {reason}\n"));
            }
        }
        if reasons.is_empty() {
            page(StatusCode::OK, PLAIN, "ready\n")
        } else {
            page(StatusCode::SERVICE_UNAVAILABLE, PLAIN, reasons.concat())
        }
    }

    async fn scrape(&self) -> Scrape {
        let asked = self.cores.iter().filter_map(|core| {
            let (reply, waiting) = oneshot();
            core.send(CoreLetter::Measure(reply)).ok().map(|()| waiting)
        });
        let (cores, engines) =
            futures_util::future::join(join_all(asked), self.engine.all_counters()).await;
        let streams = self.engine.streams();
        Scrape {
            cores: cores.into_iter().flatten().collect(),
            engines,
            streams: streams.in_name_order().count() as u64,
            resharding: streams
                .in_name_order()
                .filter(|stream| stream.pending.is_some())
                .count() as u64,
            refused_connections: self.refusals.so_far(),
        }
    }
}

fn not_ready(counters: Option<&CoreCounters>) -> Option<&'static str> {
    match counters.map(|counters| counters.log_state) {
        Some(LogState::Writable) => None,
        Some(LogState::Full) => Some("the disk is full"),
        Some(LogState::Failed) => Some("the log failed and is being recovered"),
        Some(LogState::ReadOnly) => Some("the log is read-only after repeated write faults"),
        Some(LogState::Closed) => Some("the log is closed"),
        None => Some("it does not answer"),
    }
}

fn page(
    status: StatusCode,
    content_type: &'static str,
    text: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
