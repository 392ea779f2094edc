//! Spans for a collector that speaks OTLP over HTTP. They hold what the log holds: times and numbers, no text.
//!
//! The standard variables of OpenTelemetry (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES` and so on) hold as well.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

const NAME: &str = "cervella";
/// Where a collector takes spans, below its address.
const PATH: &str = "v1/traces";
/// Of one request. Spans wait meanwhile, as many as the library's queue holds; more are given up.
const REQUEST_MAX: Duration = Duration::from_secs(5);
/// A collector answers with next to nothing.
const RESPONSE_MAX_BYTES: u64 = 64 << 10;
/// For what is left at the end.
const REST_MAX: Duration = Duration::from_secs(2);

/// Sends spans as long as it lives, and what is left when it is dropped.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// `collector`: its address, without a path of its own for spans.
    ///
    /// # Errors
    /// It is no address.
    pub(super) fn to(collector: &str) -> anyhow::Result<Self> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new())
            .with_endpoint(format!("{}/{PATH}", collector.trim_end_matches('/')))
            .build()?;
        let resource = Resource::builder().with_service_name(NAME).build();
        Ok(Traces(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build()))
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.0.tracer(NAME)
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(REST_MAX) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// The library calls it on a thread of its own, which may block.
#[derive(Debug)]
struct Client {
    agent: ureq::Agent,
    is_lost: AtomicBool,
}

impl Client {
    fn new() -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(REQUEST_MAX)).http_status_as_error(false);
        Client { agent: config.build().into(), is_lost: AtomicBool::new(false) }
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ureq::Error> {
        let (parts, mut body) = self.agent.run(request.map(|body| body.to_vec()))?.into_parts();
        let body = body.with_config().limit(RESPONSE_MAX_BYTES).read_to_vec()?;
        Ok(Response::from_parts(parts, body.into()))
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.send(request);
        let refused = sent.as_ref().map(Response::status).ok().filter(|status| !status.is_success());
        let is_lost = sent.is_err() || refused.is_some();
        // Once, and not for every batch.
        if self.is_lost.swap(is_lost, Ordering::Relaxed) != is_lost {
            match (&sent, refused) {
                (Err(error), _) => tracing::warn!(%error, "the collector of traces cannot be reached: spans are lost"),
                (_, Some(status)) => tracing::warn!(%status, "the collector of traces takes no spans: they are lost"),
                _ => tracing::info!("the collector of traces takes spans again"),
            }
        }
        Ok(sent?)
    }
}
