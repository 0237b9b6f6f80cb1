//! What is measured, and how a scrape prints it.
//!
//! Each core counts in plain integers; a scrape asks every core once. Names follow Prometheus'
//! rules: base units, one unit per name.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use weir_reactor::resident_memory_bytes;
use weir_stream::{CoreCounters, LogState};

/// Upper bounds of the duration buckets in microseconds; above the last one is a bucket too.
const BOUNDS_MICROS: [u64; 14] = [
    50, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 102_400, 409_600, 1_638_400,
    6_553_600,
];

/// Durations, counted in buckets.
#[derive(Debug, Clone, Default)]
pub(crate) struct DurationBuckets {
    counts: [u64; BOUNDS_MICROS.len() + 1],
    sum: Duration,
}

impl DurationBuckets {
    pub(crate) fn record(&mut self, duration: Duration) {
        let micros = duration.as_micros() as u64;
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        self.counts[bucket] += 1;
        self.sum += duration;
    }

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = BOUNDS_MICROS.iter().map(|micros| *micros as f64 / 1e6);
        let buckets: Vec<_> = bounds.chain([f64::INFINITY]).zip(self.counts).collect();
        let count = self.counts.iter().sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum.as_secs_f64(), count, &buckets, None)
    }
}

/// What the server, beside the engine, counted on one core.
#[derive(Debug)]
pub(crate) struct CoreMetrics {
    pub(crate) core: u32,
    /// Processor time of the core's thread.
    pub(crate) busy: Duration,
    pub(crate) wire_connections: u64,
    pub(crate) http_connections: u64,
    pub(crate) https_connections: u64,
    pub(crate) admin_connections: u64,
    pub(crate) accepted: u64,
    pub(crate) timed_out: u64,
    pub(crate) malformed: u64,
    /// Connections and bodies of HTTP that were too slow.
    pub(crate) http_timed_out: u64,
    pub(crate) authentication_failures: u64,
    pub(crate) authentication_delayed: u64,
    /// Connections that have not shown who they are.
    pub(crate) strangers: u64,
    pub(crate) strangers_sent_away: u64,
    /// Bytes that binary connections hold of frames that are not whole yet.
    pub(crate) intake_bytes: u64,
    pub(crate) append: DurationBuckets,
    pub(crate) read: DurationBuckets,
    pub(crate) control: DurationBuckets,
}

/// Everything one scrape prints.
#[derive(Debug)]
pub(crate) struct Scrape {
    pub(crate) cores: Vec<CoreMetrics>,
    pub(crate) engines: Vec<CoreCounters>,
    pub(crate) streams: u64,
    /// Of them, those whose shards are being split, merged or counted anew.
    pub(crate) resharding: u64,
    /// By protocol, since the start.
    pub(crate) refused_connections: [(&'static str, u64); 4],
}

/// Prints in the OpenMetrics text format.
pub(crate) fn print(scrape: Scrape) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

type EngineNumber = fn(&CoreCounters) -> f64;
type CoreNumber = fn(&CoreMetrics) -> f64;

/// Counters of the engine: name without `_total`, help, value of one core.
const ENGINE_COUNTERS: &[(&str, &str, EngineNumber)] = &[
    (
        "weir_incoming_bytes",
        "Bytes of keys and data admitted",
        |c| c.appended_bytes as f64,
    ),
    ("weir_incoming_records", "Records admitted", |c| {
        c.appended_records as f64
    }),
    ("weir_incoming_batches", "Batches admitted", |c| {
        c.appended_batches as f64
    }),
    (
        "weir_outgoing_bytes",
        "Bytes of batches in answers to reads",
        |c| c.read_bytes as f64,
    ),
    (
        "weir_outgoing_records",
        "Records in answers to reads",
        |c| c.read_records as f64,
    ),
    ("weir_reads", "Reads answered", |c| c.reads as f64),
    (
        "weir_refused",
        "Batches refused for another reason than a quota; refused connections are not in it",
        |c| c.refused_appends as f64,
    ),
    ("weir_stored_bytes", "Bytes of batches made durable", |c| {
        c.log.batch_bytes as f64
    }),
    (
        "weir_written_bytes",
        "Bytes written to segments, padding included",
        |c| c.log.frame_bytes as f64,
    ),
    (
        "weir_syncs",
        "Commit frames written, each one durable write",
        |c| c.log.frames as f64,
    ),
    ("weir_sync_seconds", "Time of all durable writes", |c| {
        c.log.commit_nanos as f64 / 1e9
    }),
    ("weir_log_faults", "Write faults of the log", |c| {
        c.log.faults as f64
    }),
    (
        "weir_damaged_batches",
        "Batches found damaged when read",
        |c| c.log.damaged as f64,
    ),
    (
        "weir_unwritten_rolls",
        "Segments begun without written blocks, because none was ready",
        |c| c.log.unwritten_rolls as f64,
    ),
    (
        "weir_settled_bytes",
        "Bytes of live batches that settling rewrote",
        |c| c.log.settled_bytes as f64,
    ),
    (
        "weir_subscription_events",
        "Events for subscribed consumers, heartbeats too",
        |c| c.deliveries as f64,
    ),
    (
        "weir_subscription_bytes",
        "Bytes of batches in events for subscribed consumers",
        |c| c.delivered_bytes as f64,
    ),
    (
        "weir_reshards",
        "Splits, merges and counts driven to their end",
        |c| c.reshards as f64,
    ),
    ("weir_core_hops", "Requests answered for other cores", |c| {
        c.from_other_cores as f64
    }),
];

/// Gauges of the engine.
const ENGINE_GAUGES: &[(&str, &str, EngineNumber)] = &[
    ("weir_shards", "Open shards homed on the core", |c| {
        c.shards as f64
    }),
    (
        "weir_sync_duration_max_seconds",
        "Longest durable write since the start",
        |c| c.log.commit_nanos_max as f64 / 1e9,
    ),
    (
        "weir_log_disk_bytes",
        "Bytes of segment files, free ones included",
        |c| c.log.disk_bytes as f64,
    ),
    ("weir_free_segments", "Segments ready to be written", |c| {
        c.log.free_segments as f64
    }),
    (
        "weir_given_up",
        "Ranges of records and segments that weir repair gave up",
        |c| c.log.given_up as f64,
    ),
    ("weir_sealed_segments", "Sealed segments kept", |c| {
        c.log.sealed_segments as f64
    }),
    (
        "weir_tail_bytes",
        "Bytes of recent records in memory",
        |c| c.log.tail_bytes as f64,
    ),
    (
        "weir_subscriptions",
        "Open subscriptions to the core's shards",
        |c| c.subscriptions as f64,
    ),
    (
        "weir_waiting_bytes",
        "Bytes of requests that wait in memory",
        |c| c.waiting_bytes as f64,
    ),
    (
        "weir_log_writable",
        "1 while the core's log takes writes",
        |c| f64::from(u8::from(c.log_state == LogState::Writable)),
    ),
];

/// Counters of the server.
const CORE_COUNTERS: &[(&str, &str, CoreNumber)] = &[
    (
        "weir_core_busy_seconds",
        "Processor time of the core's thread",
        |c| c.busy.as_secs_f64(),
    ),
    (
        "weir_connections_accepted",
        "Binary connections welcomed",
        |c| c.accepted as f64,
    ),
    (
        "weir_connections_timed_out",
        "Binary connections ended for making no progress or saying no hello in time",
        |c| c.timed_out as f64,
    ),
    (
        "weir_http_timed_out",
        "HTTP connections and bodies given up because the client was too slow",
        |c| c.http_timed_out as f64,
    ),
    (
        "weir_authentication_failures",
        "HTTP requests whose credentials did not do",
        |c| c.authentication_failures as f64,
    ),
    (
        "weir_authentication_delayed",
        "Of them, those refused late because so many came from their address",
        |c| c.authentication_delayed as f64,
    ),
    (
        "weir_strangers_sent_away",
        "Connections ended or not let in because too many had not shown who they are",
        |c| c.strangers_sent_away as f64,
    ),
    (
        "weir_malformed_requests",
        "Binary requests and hellos that made no sense",
        |c| c.malformed as f64,
    ),
];

/// Gauges of the server.
const CORE_GAUGES: &[(&str, &str, CoreNumber)] = &[
    (
        "weir_intake_bytes",
        "Memory of binary connections for frames that are coming in",
        |c| c.intake_bytes as f64,
    ),
    (
        "weir_strangers",
        "Connections that have not shown who they are",
        |c| c.strangers as f64,
    ),
];

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in ENGINE_COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for counters in &self.engines {
                let labels = [("core", counters.core.to_string())];
                let mut one = family.encode_family(&labels)?;
                one.encode_counter::<NoLabelSet, f64, f64>(&value(counters), None)?;
            }
        }
        for (name, help, value) in CORE_COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for core in &self.cores {
                let labels = [("core", core.core.to_string())];
                let mut one = family.encode_family(&labels)?;
                one.encode_counter::<NoLabelSet, f64, f64>(&value(core), None)?;
            }
        }
        for (name, help, value) in ENGINE_GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for counters in &self.engines {
                let labels = [("core", counters.core.to_string())];
                let mut one = family.encode_family(&labels)?;
                one.encode_gauge(&value(counters))?;
            }
        }
        for (name, help, value) in CORE_GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for core in &self.cores {
                let labels = [("core", core.core.to_string())];
                let mut one = family.encode_family(&labels)?;
                one.encode_gauge(&value(core))?;
            }
        }
        self.encode_throttled(&mut encoder)?;
        self.encode_connections(&mut encoder)?;
        self.encode_durations(&mut encoder)?;
        self.encode_process(&mut encoder)
    }
}

impl Scrape {
    fn encode_throttled(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Requests refused by a shard's quota";
        let mut family =
            encoder.encode_descriptor("weir_throttled", help, None, MetricType::Counter)?;
        for c in &self.engines {
            for (side, value) in [("write", c.throttled_appends), ("read", c.throttled_reads)] {
                let labels = [("core", c.core.to_string()), ("side", side.to_owned())];
                let mut one = family.encode_family(&labels)?;
                one.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
            }
        }
        Ok(())
    }

    fn encode_connections(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Connections open now";
        let mut family =
            encoder.encode_descriptor("weir_connections", help, None, MetricType::Gauge)?;
        for c in &self.cores {
            for (protocol, value) in [
                ("binary", c.wire_connections),
                ("http", c.http_connections),
                ("https", c.https_connections),
                ("admin", c.admin_connections),
            ] {
                let labels = [
                    ("core", c.core.to_string()),
                    ("protocol", protocol.to_owned()),
                ];
                family
                    .encode_family(&labels)?
                    .encode_gauge(&(value as f64))?;
            }
        }
        let help = "Connections refused because there were too many";
        let name = "weir_connections_refused";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (protocol, value) in self.refused_connections {
            let labels = [("protocol", protocol)];
            let mut one = family.encode_family(&labels)?;
            one.encode_counter::<NoLabelSet, u64, f64>(&value, None)?;
        }
        Ok(())
    }

    fn encode_durations(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "From the arrival of a request to its answer being ready to send";
        let name = "weir_request_duration_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for c in &self.cores {
            for (operation, buckets) in [
                ("append", &c.append),
                ("read", &c.read),
                ("control", &c.control),
            ] {
                let labels = [
                    ("core", c.core.to_string()),
                    ("operation", operation.to_owned()),
                    ("protocol", "binary".to_owned()),
                ];
                buckets.encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn encode_process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        encoder
            .encode_descriptor(
                "weir_streams",
                "Streams that exist",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&(self.streams as f64))?;
        encoder
            .encode_descriptor(
                "weir_streams_resharding",
                "Streams whose shards are being split, merged or counted anew",
                None,
                MetricType::Gauge,
            )?
            .encode_gauge(&(self.resharding as f64))?;
        if let Some(bytes) = resident_memory_bytes() {
            let help = "Memory of the process that is in use, mapped pages of files included";
            encoder
                .encode_descriptor("weir_resident_memory_bytes", help, None, MetricType::Gauge)?
                .encode_gauge(&(bytes as f64))?;
        }
        let labels = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("commit", option_env!("WEIR_COMMIT").unwrap_or("unknown")),
        ];
        encoder
            .encode_descriptor(
                "weir_build_info",
                "Which build this is",
                None,
                MetricType::Gauge,
            )?
            .encode_family(&labels)?
            .encode_gauge(&1_i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_names_what_operators_ask_for() {
        let mut append = DurationBuckets::default();
        append.record(Duration::from_micros(150));
        append.record(Duration::from_mins(1));
        let core = CoreMetrics {
            core: 0,
            busy: Duration::from_millis(1500),
            wire_connections: 2,
            http_connections: 0,
            https_connections: 0,
            admin_connections: 0,
            accepted: 3,
            timed_out: 0,
            malformed: 0,
            http_timed_out: 0,
            authentication_failures: 0,
            authentication_delayed: 0,
            strangers: 0,
            strangers_sent_away: 0,
            intake_bytes: 16_384,
            append,
            read: DurationBuckets::default(),
            control: DurationBuckets::default(),
        };
        let scrape = Scrape {
            cores: vec![core],
            engines: Vec::new(),
            streams: 4,
            resharding: 1,
            refused_connections: [("http", 0), ("https", 0), ("binary", 7), ("admin", 0)],
        };
        let text = print(scrape).unwrap();
        for line in [
            "weir_core_busy_seconds_total{core=\"0\"} 1.5",
            "weir_connections{core=\"0\",protocol=\"binary\"} 2.0",
            "weir_intake_bytes{core=\"0\"} 16384.0",
            "weir_streams 4.0",
            "weir_streams_resharding 1.0",
            "weir_connections_refused_total{protocol=\"binary\"} 7",
            "# TYPE weir_incoming_bytes counter",
            "le=\"0.0002\",core=\"0\",operation=\"append\",protocol=\"binary\"} 1",
            "le=\"+Inf\",core=\"0\",operation=\"append\",protocol=\"binary\"} 2",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
