//! Places for probes in flight: over the whole runner, of one pipeline, and to one host.
//!
//! A probe keeps its places until its row was taken over by the sink, so that a full queue below slows the
//! schedule down and nothing piles up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

/// Hosts without a probe are forgotten when so many are known.
const HOSTS_KEPT: usize = 1_024;

/// How many probes of a pipeline may be in flight; none means that only the runner's own limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Over all its targets.
    pub concurrency: Option<u32>,
    /// To one host and port. Pipelines with the same limit share it.
    pub per_host: Option<u32>,
}

/// A limit, and host and port.
type HostKey = (u32, Box<str>);

/// All places of a runner.
#[derive(Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    size: Mutex<Size>,
    /// By limit and host; one that nobody holds is gone.
    hosts: Mutex<HashMap<HostKey, Weak<Semaphore>>>,
}

/// How many places there are in all.
#[derive(Debug, Clone, Copy)]
struct Size {
    wanted: usize,
    /// Places that were taken away while probes had them: they go when they are given back.
    owed: usize,
}

/// The places of one pipeline.
#[derive(Debug, Clone, Default)]
pub(super) struct OwnPlaces {
    own: Option<Arc<Semaphore>>,
    per_host: Option<u32>,
}

/// Places that a probe has; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    all: Option<OwnedSemaphorePermit>,
    places: Arc<Places>,
    _own: Option<OwnedSemaphorePermit>,
    _host: Option<OwnedSemaphorePermit>,
}

/// A place at a host: there, or to be waited for.
#[derive(Debug)]
pub(super) enum HostPlace {
    /// There is one, or none is needed.
    Ready(Option<OwnedSemaphorePermit>),
    /// As many as may be are in flight.
    Full(Arc<Semaphore>),
}

impl OwnPlaces {
    /// The places that a pipeline's limits leave it.
    pub(super) fn new(limits: Limits) -> Self {
        let own = limits.concurrency.map(|places| Arc::new(Semaphore::new(places as usize)));
        Self { own, per_host: limits.per_host }
    }
}

impl Places {
    /// So many places over all.
    pub fn new(concurrency: usize) -> Self {
        let wanted = concurrency.min(Semaphore::MAX_PERMITS);
        let size = Mutex::new(Size { wanted, owed: 0 });
        Self { all: Arc::new(Semaphore::new(wanted)), size, hosts: Mutex::default() }
    }

    /// So many places from now on. Probes that have one keep it.
    pub fn resize(&self, concurrency: usize) {
        let wanted = concurrency.min(Semaphore::MAX_PERMITS);
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted > size.wanted {
            let paid = size.owed.min(wanted - size.wanted);
            size.owed -= paid;
            self.all.add_permits(wanted - size.wanted - paid);
        } else {
            let taken = self.all.forget_permits(size.wanted - wanted);
            size.owed += size.wanted - wanted - taken;
        }
        size.wanted = wanted;
    }

    /// Whether a place that is given back is to go.
    fn pays(&self) -> bool {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let pays = size.owed > 0;
        size.owed -= usize::from(pays);
        pays
    }

    /// A place at the host of a URL.
    pub(super) fn at_host(&self, own: &OwnPlaces, url: &str) -> HostPlace {
        let Some(limit) = own.per_host else { return HostPlace::Ready(None) };
        let host = self.host(limit, url);
        match Arc::clone(&host).try_acquire_owned() {
            Ok(permit) => HostPlace::Ready(Some(permit)),
            Err(_) => HostPlace::Full(host),
        }
    }

    /// Takes the places beside the host's, where they are there; else gives back the host's.
    pub(super) fn try_take(
        self: &Arc<Self>,
        own: &OwnPlaces,
        host: Option<OwnedSemaphorePermit>,
    ) -> Result<Place, Option<OwnedSemaphorePermit>> {
        let own = match own.own.as_ref().map(|own| Arc::clone(own).try_acquire_owned()) {
            None => None,
            Some(Ok(own)) => Some(own),
            Some(Err(_)) => return Err(host),
        };
        match Arc::clone(&self.all).try_acquire_owned() {
            Ok(all) => Ok(Place { all: Some(all), places: Arc::clone(self), _own: own, _host: host }),
            Err(_) => Err(host),
        }
    }

    /// Waits for the places beside the host's. None if there are no places any more, which never happens
    /// while the runner runs.
    pub(super) async fn take(
        self: &Arc<Self>,
        own: &OwnPlaces,
        host: Option<OwnedSemaphorePermit>,
    ) -> Option<Place> {
        let own = match &own.own {
            Some(own) => Some(Arc::clone(own).acquire_owned().await.ok()?),
            None => None,
        };
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Place { all: Some(all), places: Arc::clone(self), _own: own, _host: host })
    }

    fn host(&self, limit: u32, url: &str) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= HOSTS_KEPT {
            hosts.retain(|_, host| host.strong_count() > 0);
        }
        let known = hosts.entry((limit, authority(url))).or_default();
        known.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Semaphore::new(limit as usize));
            *known = Arc::downgrade(&new);
            new
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(permit) = self.all.take()
            && self.places.pays()
        {
            permit.forget();
        }
    }
}

/// Host and port of a URL.
fn authority(url: &str) -> Box<str> {
    let parsed = Url::parse(url).ok();
    let text =
        parsed.as_ref().and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?)));
    text.unwrap_or_else(|| url.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_has_its_own_limit_and_gives_places_back() {
        let places = Arc::new(Places::new(10));
        let own = OwnPlaces::new(Limits { concurrency: None, per_host: Some(1) });
        let HostPlace::Ready(Some(first)) = places.at_host(&own, "http://a/x") else { panic!("no place") };
        assert!(matches!(places.at_host(&own, "http://a:80/y"), HostPlace::Full(_)));
        assert!(matches!(places.at_host(&own, "http://a:81/"), HostPlace::Ready(Some(_))));
        let place = places.take(&own, Some(first)).await.unwrap();
        assert_eq!(places.all.available_permits(), 9);
        drop(place);
        assert!(matches!(places.at_host(&own, "http://a/"), HostPlace::Ready(Some(_))));
        assert_eq!(places.all.available_permits(), 10);
    }

    #[tokio::test]
    async fn places_that_are_taken_away_go_as_probes_give_them_back() {
        let places = Arc::new(Places::new(3));
        let own = OwnPlaces::default();
        let first = places.take(&own, None).await.unwrap();
        let second = places.take(&own, None).await.unwrap();
        places.resize(1);
        assert_eq!(places.all.available_permits(), 0);
        drop(first);
        assert_eq!(places.all.available_permits(), 0, "it was owed");
        places.resize(2);
        assert_eq!(places.all.available_permits(), 1);
        drop(second);
        assert_eq!(places.all.available_permits(), 2);
    }

    #[test]
    fn hosts_without_a_probe_are_forgotten() {
        let places = Places::new(1);
        let own = OwnPlaces::new(Limits { concurrency: None, per_host: Some(1) });
        for host in 0..3 * HOSTS_KEPT {
            drop(places.at_host(&own, &format!("http://h{host}/")));
        }
        assert!(places.hosts.lock().unwrap().len() <= HOSTS_KEPT);
    }
}
