//! Every address of a name: one exchange each, side by side.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;

use http::Uri;

use super::dial::{Chosen, place};
use super::progress::Progress;
use super::request::Request;
use super::{Fetcher, first_request};
use crate::clock::{Clock, Instant};
use crate::model::{Exchange, Failure};

impl Fetcher {
    /// As [`Fetcher::fetch`]; where the request wants all addresses of the target, one exchange with each of them,
    /// in the order of the answer, at the same time. At least one.
    pub async fn fetch_each(
        &self,
        request: &Request,
        target_url: &str,
        deadline: Instant,
        clock: &Clock,
    ) -> Vec<Exchange> {
        let name = request.all_addresses.then(|| name_of(request, target_url)).flatten();
        let Some((uri, name)) = name else {
            let mut exchange = self.fetch(request, target_url, deadline, clock).await;
            exchange.address_index = request.all_addresses.then_some(0);
            return vec![exchange];
        };
        let began = clock.now();
        let resolver = &self.shared.resolver;
        let asking = pin!(resolver.resolve(&name, request.ip_version, &request.dns_servers, clock, || ()));
        let (answer, dns) = match tokio::time::timeout_at(deadline, asking).await {
            Ok((Ok(answer), dns)) => (answer, dns),
            Ok((Err(failure), _)) => return vec![unresolved(request, &uri, Some(failure), began, clock)],
            Err(_) => return vec![unresolved(request, &uri, None, began, clock)],
        };
        let each = answer.addresses.into_iter().map(|address| {
            let chosen = Chosen { address, dns, answers: answer.found };
            self.fetch_from(request, target_url, Some(chosen), deadline, clock)
        });
        let mut exchanges = side_by_side(each).await;
        for (index, exchange) in exchanges.iter_mut().enumerate() {
            exchange.address_index = u32::try_from(index).ok();
            // What resolving took is a part of each.
            exchange.phases.total = exchange.phases.total.map(|total| total + dns);
        }
        exchanges
    }
}

/// The name that has to be resolved for a URL; none for an address, where the user gives one, and where a proxy is
/// in between.
fn name_of(request: &Request, target_url: &str) -> Option<(Uri, String)> {
    let uri = first_request(request, target_url).ok()?.uri;
    if request.proxy_for(&uri).is_some() {
        return None;
    }
    let place = place(&uri, &request.pins);
    let name = place.known.is_none().then(|| place.host.to_owned())?;
    Some((uri, name))
}

/// The exchange of a name without an address; without a failure, the deadline met it.
fn unresolved(
    request: &Request,
    uri: &Uri,
    failure: Option<Failure>,
    began: Instant,
    clock: &Clock,
) -> Exchange {
    let mut progress = Progress::new(began);
    progress.begin_hop(uri.to_string(), request.method.clone(), began);
    let failure = failure.unwrap_or_else(|| progress.at_deadline());
    progress.wire.lock().dns = Some(clock.now().saturating_duration_since(began));
    progress.settle_hop(false, clock);
    progress.finish(Some(failure), clock.now())
}

/// Runs all of them in this task, and gives what they give in their order.
async fn side_by_side<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        let mut all = Poll::Ready(());
        for (future, output) in running.iter_mut().zip(&mut outputs).filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(cx) {
                Poll::Ready(ended) => *output = Some(ended),
                Poll::Pending => all = Poll::Pending,
            }
        }
        all
    })
    .await;
    outputs.into_iter().flatten().collect()
}
