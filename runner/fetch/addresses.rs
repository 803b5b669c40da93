//! Every address of a name: one exchange each, side by side.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use http::Uri;

use super::dial::{Chosen, place};
use super::progress::Progress;
use super::request::Request;
use super::resolve::Answer;
use super::{Fetcher, first_request};
use crate::clock::{Clock, Instant};
use crate::model::{ErrorKind, Exchange, Failure};

impl Fetcher {
    /// As [`Fetcher::fetch`], and what `then` makes of the exchange. Where the request wants all addresses of the
    /// target: one exchange with each of them, in the order of the answer, at the same time, each followed by its
    /// `then` at once. At least one.
    pub async fn fetch_each<T, F: Future<Output = T>>(
        &self,
        request: &Request,
        target_url: &str,
        deadline: Instant,
        clock: &Clock,
        then: impl Fn(Exchange) -> F,
    ) -> Vec<T> {
        let name = request.all_addresses.then(|| name_of(request, target_url)).flatten();
        let Some((uri, name)) = name else {
            let mut exchange = self.fetch(request, target_url, deadline, clock).await;
            exchange.address_index = request.all_addresses.then_some(0);
            return vec![then(exchange).await];
        };
        let began = clock.now();
        // Boxed: few need it, and the memory of every probe in flight would have room for it.
        let resolving = Box::pin(self.resolve_first(request, &uri, &name, deadline, clock));
        let (answer, dns) = match resolving.await {
            Ok(resolved) => resolved,
            Err(mut exchange) => {
                self.blame_network(&mut exchange, began, clock).await;
                return vec![then(*exchange).await];
            }
        };
        let each = answer.addresses.into_iter().enumerate().map(|(index, address)| {
            let chosen = Chosen { address, dns, answers: answer.found };
            let then = &then;
            async move {
                let mut exchange =
                    self.fetch_beside(index, request, target_url, chosen, deadline, clock).await;
                exchange.address_index = u32::try_from(index).ok();
                // What resolving took is a part of each.
                exchange.phases.total = exchange.phases.total.map(|total| total + dns);
                then(exchange).await
            }
        });
        side_by_side(each).await
    }

    /// The addresses of a name and the time that finding them took, or the exchange that comes of there being none.
    async fn resolve_first(
        &self,
        request: &Request,
        uri: &Uri,
        name: &str,
        deadline: Instant,
        clock: &Clock,
    ) -> Result<(Answer, Duration), Box<Exchange>> {
        let began = clock.now();
        let mut progress = Progress::new(began);
        progress.begin_hop(uri.to_string(), request.method.clone(), began);
        let asking = self.shared.resolver.resolve_told(
            name,
            request.ip_version,
            &request.dns_servers,
            clock,
            &progress.wire,
        );
        let failure = match tokio::time::timeout_at(deadline, asking).await {
            Ok(Ok(answer)) => return Ok((answer, progress.wire.lock().dns.unwrap_or_default())),
            Ok(Err(failure)) => failure,
            Err(_) => progress.at_deadline(),
        };
        progress.settle_hop(false, clock);
        Err(Box::new(progress.finish(Some(failure), clock.now())))
    }

    /// The exchange with one of several addresses. A probe counts as one connection: each beyond the first waits for
    /// one of those that are to spare.
    async fn fetch_beside(
        &self,
        index: usize,
        request: &Request,
        target_url: &str,
        chosen: Chosen,
        deadline: Instant,
        clock: &Clock,
    ) -> Exchange {
        let spare = match index {
            0 => None,
            _ => match tokio::time::timeout_at(deadline, self.shared.spare.acquire()).await {
                // Only a closed semaphore fails, and nobody closes this one.
                Ok(spare) => spare.ok(),
                Err(_) => {
                    let message = "other probes had all connections to spare until the deadline";
                    let failure = Failure::new(ErrorKind::LocalLimit, message);
                    return Progress::new(clock.now()).finish(Some(failure), clock.now());
                }
            },
        };
        let exchange = self.fetch_from(request, target_url, Some(chosen), deadline, clock).await;
        drop(spare);
        exchange
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

/// Runs all of them in this task, and gives what they give in their order.
async fn side_by_side<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    let (count, mut first) = (running.len(), 0);
    std::future::poll_fn(|cx| {
        let mut all = Poll::Ready(());
        // They share the task's turn: another one begins each time, or who is first could use it up for ever.
        first += 1;
        for index in (0..count).map(|index| (first + index) % count) {
            if outputs[index].is_none() {
                match running[index].as_mut().poll(cx) {
                    Poll::Ready(ended) => outputs[index] = Some(ended),
                    Poll::Pending => all = Poll::Pending,
                }
            }
        }
        all
    })
    .await;
    outputs.into_iter().flatten().collect()
}
