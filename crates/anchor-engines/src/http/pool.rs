//! Several endpoints of one engine: who takes the next request, and who is left alone for a while.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::breaker::{Breaker, Policy};

/// The endpoints of one engine.
pub(super) struct Pool(Vec<Endpoint>);

struct Endpoint {
    base: String,
    /// Requests under way.
    load: AtomicUsize,
    breaker: Mutex<Breaker>,
}

impl Endpoint {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    pub(super) fn new(urls: Vec<String>) -> Self {
        let endpoint =
            |base| Endpoint { base, load: AtomicUsize::new(0), breaker: Mutex::new(Breaker::new(Policy::default())) };
        Self(urls.into_iter().map(endpoint).collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn base(&self, index: usize) -> &str {
        &self.0[index].base
    }

    pub(super) fn addresses(&self) -> String {
        self.0.iter().map(|endpoint| endpoint.base.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The endpoint for the next request: one that was not tried yet before one that was, one that works before one that
    /// does not, then the least busy, then the first. There is always one: whether an engine is given up is decided by
    /// those who have another.
    pub(super) fn take(&self, tried: &[usize]) -> Lease<'_> {
        let now = Instant::now();
        let rank = |(index, endpoint): &(usize, &Endpoint)| {
            let works = endpoint.breaker().allows(now);
            (tried.contains(index), Reverse(works), endpoint.load.load(Ordering::Relaxed), *index)
        };
        let (index, endpoint) =
            self.0.iter().enumerate().min_by_key(rank).expect("a pool is made of at least one address");
        endpoint.load.fetch_add(1, Ordering::Relaxed);
        Lease { endpoint, index }
    }
}

/// An endpoint while a request is under way.
pub(crate) struct Lease<'a> {
    endpoint: &'a Endpoint,
    index: usize,
}

impl Lease<'_> {
    /// Its address, without a slash at the end.
    pub(crate) fn base(&self) -> &str {
        &self.endpoint.base
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// The request was answered.
    pub(crate) fn succeeded(&mut self) {
        self.endpoint.breaker().succeeded(Instant::now());
    }

    /// The endpoint, or the way to it, is broken.
    pub(crate) fn failed(&mut self) {
        self.endpoint.breaker().failed(Instant::now());
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.endpoint.load.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(count: usize) -> Pool {
        Pool::new((0..count).map(|n| format!("http://{n}")).collect())
    }

    #[test]
    fn the_least_busy_takes_the_next_request() {
        let pool = pool(3);
        let first = pool.take(&[]);
        let second = pool.take(&[]);
        let third = pool.take(&[]);
        assert_eq!([first.index, second.index, third.index], [0, 1, 2]);
        drop(second);
        assert_eq!(pool.take(&[]).index, 1);
        assert_eq!(pool.take(&[1]).index, 0);
    }

    #[test]
    fn a_broken_one_is_left_alone_unless_there_is_no_other() {
        let pool = pool(2);
        for _ in 0..5 {
            let mut lease = pool.take(&[1]);
            assert_eq!(lease.index, 0);
            lease.failed();
        }
        assert_eq!(pool.take(&[]).index, 1);
        assert_eq!(pool.take(&[1]).index, 0);
    }
}
