//! What the demo's website answers, by path. `targets.csv.template` has a line for each.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;

/// What `/slow` takes: longer than the demo's latency check likes, shorter than its deadline.
const SLOW: Duration = Duration::from_millis(1_600);

/// `/report` is this line again and again: 3 MiB, more than the demo gives its body check in memory.
const REPORT_LINE: &str = "all is well, and has been for long\n";
const REPORT_LINES: usize = 3 * 1024 * 1024 / REPORT_LINE.len() + 1;

const HOME: &str = "<!doctype html>
<html lang=\"en\">
<title>A very small shop</title>
<h1>A very small shop</h1>
<p>It is here to be probed. Its pages are in <code>targets.csv</code>.</p>
</html>
";

/// The pages, and what they remember.
#[derive(Debug, Default)]
pub(super) struct Pages {
    /// Requests for `/flaky` so far: every second one fails.
    flaky_requests: AtomicU64,
}

impl Pages {
    /// The answer to one request. It never fails; a page that is not there is a 404.
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
        let answer = match request.uri().path() {
            "/" => page(StatusCode::OK, "text/html; charset=utf-8", HOME),
            "/slow" => {
                tokio::time::sleep(SLOW).await;
                page(StatusCode::OK, "text/plain", "here at last\n")
            }
            "/flaky" => self.flaky(),
            "/api/health" => page(StatusCode::OK, "application/json", r#"{"status":"ok"}"#),
            // Wrong, under a status that says otherwise: only a look at the body tells.
            "/api/stock" => page(
                StatusCode::OK,
                "application/json",
                r#"{"stock":null,"error":"no answer from the warehouse"}"#,
            ),
            "/report" => page(StatusCode::OK, "text/plain", REPORT_LINE.repeat(REPORT_LINES)),
            "/old" => redirect("/"),
            _ => page(StatusCode::NOT_FOUND, "text/plain", "there is no such page\n"),
        };
        Ok(answer)
    }

    fn flaky(&self) -> Response<Full<Bytes>> {
        let earlier = self.flaky_requests.fetch_add(1, Ordering::Relaxed);
        if earlier.is_multiple_of(2) {
            page(StatusCode::OK, "text/plain", "well, this time\n")
        } else {
            page(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "try again\n")
        }
    }
}

fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn redirect(to: &'static str) -> Response<Full<Bytes>> {
    let mut response = page(StatusCode::FOUND, "text/plain", "moved\n");
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(to));
    response
}
