//! Threads for queries, so that the runtime that serves requests never computes.
//!
//! Each tenant has a queue, and queues take turns: one tenant's hundred queries delay another's
//! single one by one query at most on each thread.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use greylight_store::model::{Clock, TenantId};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

/// Planning a query recurses as deep as the query nests; this holds every query within the
/// limits on nodes many times over. It is address space, not memory, until it is used.
pub(crate) const STACK_BYTES: usize = 32 << 20;

/// Why work was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The queue is full.
    Full,
    /// It waited too long.
    Waited,
    /// The work itself panicked.
    Panicked,
}

type Work = Box<dyn FnOnce() + Send>;

struct Job {
    work: Work,
    queued_at: Duration,
}

#[derive(Default)]
struct Queues {
    by_tenant: HashMap<TenantId, VecDeque<Job>>,
    /// Tenants with work, whose turn is next first.
    turns: VecDeque<TenantId>,
    n_queued: usize,
    closed: bool,
}

struct Shared {
    queues: Mutex<Queues>,
    changed: Condvar,
    clock: Arc<dyn Clock>,
    wait_max: Duration,
    queued_max: usize,
}

/// A fixed number of threads. Dropping it ends them once their work is done.
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("queued", &self.shared.queues.lock().n_queued).finish()
    }
}

impl Pool {
    /// Starts `n_threads` threads.
    pub(crate) fn start(
        n_threads: usize,
        queued_max: usize,
        wait_max: Duration,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let queues = Mutex::default();
        let shared = Arc::new(Shared { queues, changed: Condvar::new(), clock, wait_max, queued_max });
        for i in 0..n_threads {
            let shared = shared.clone();
            std::thread::Builder::new()
                .name(format!("query-{i}"))
                .stack_size(STACK_BYTES)
                .spawn(move || shared.serve())?;
        }
        Ok(Self { shared })
    }

    /// Runs work in its tenant's turn and waits for what it gives.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        tenant: &TenantId,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refused> {
        let (sender, receiver) = oneshot::channel();
        let (clock, wait_max) = (self.shared.clock.clone(), self.shared.wait_max);
        let queued_at = clock.elapsed();
        let work = move || {
            // The client went away while this waited: nobody wants the answer.
            if sender.is_closed() {
                return;
            }
            let waited = clock.elapsed().saturating_sub(queued_at);
            let result = if waited > wait_max { Err(Refused::Waited) } else { Ok(work()) };
            // Nobody listens any more: the client went away.
            let _ = sender.send(result);
        };
        self.shared.push(tenant, Job { work: Box::new(work), queued_at })?;
        receiver.await.unwrap_or(Err(Refused::Panicked))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.queues.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn push(&self, tenant: &TenantId, job: Job) -> Result<(), Refused> {
        let mut queues = self.queues.lock();
        // Full means refused at once: the client knows, and nothing grows.
        if queues.n_queued >= self.queued_max {
            return Err(Refused::Full);
        }
        queues.n_queued += 1;
        let queue = queues.by_tenant.entry(tenant.clone()).or_default();
        let was_empty = queue.is_empty();
        queue.push_back(job);
        if was_empty {
            queues.turns.push_back(tenant.clone());
        }
        drop(queues);
        self.changed.notify_one();
        Ok(())
    }

    fn pop(&self) -> Option<Job> {
        let mut queues = self.queues.lock();
        loop {
            if let Some(tenant) = queues.turns.pop_front() {
                let queue = queues.by_tenant.entry(tenant.clone()).or_default();
                let job = queue.pop_front();
                if queue.is_empty() {
                    queues.by_tenant.remove(&tenant);
                } else {
                    queues.turns.push_back(tenant);
                }
                if job.is_some() {
                    queues.n_queued -= 1;
                    return job;
                }
                continue;
            }
            if queues.closed {
                return None;
            }
            self.changed.wait(&mut queues);
        }
    }

    fn serve(&self) {
        while let Some(job) = self.pop() {
            let waited_ms = self.clock.elapsed().saturating_sub(job.queued_at).as_millis() as u64;
            tracing::trace!(waited_ms, "query starts");
            // A panic ends one query, not the thread: the waiting side sees its channel closed.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job.work)).is_err() {
                tracing::error!("a query panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use greylight_store::model::{ManualClock, Timestamp};

    use super::*;

    fn pool(n_threads: usize, queued_max: usize) -> (Arc<Pool>, ManualClock) {
        let clock = ManualClock::at(Timestamp::default());
        let wait = Duration::from_secs(5);
        (Arc::new(Pool::start(n_threads, queued_max, wait, Arc::new(clock.clone())).unwrap()), clock)
    }

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    #[tokio::test]
    async fn a_panic_ends_one_query_and_not_its_thread() {
        let (pool, _) = pool(1, 10);
        assert_eq!(pool.run(&tenant("a"), || -> u8 { panic!("boom") }).await, Err(Refused::Panicked));
        assert_eq!(pool.run(&tenant("a"), || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn tenants_take_turns_and_a_full_queue_refuses() {
        let (pool, clock) = pool(1, 3);
        let (hold, held) = mpsc::channel::<()>();
        let (order_in, order) = mpsc::channel();
        let (started_in, started) = mpsc::channel();
        let blocker = {
            let pool = pool.clone();
            tokio::spawn(async move {
                pool.run(&tenant("a"), move || {
                    started_in.send(()).unwrap();
                    held.recv().unwrap();
                })
                .await
            })
        };
        tokio::task::spawn_blocking(move || started.recv().unwrap()).await.unwrap();
        let mut waiting = Vec::new();
        for name in ["a", "a", "b"] {
            let (pool, order_in) = (pool.clone(), order_in.clone());
            waiting.push(tokio::spawn(async move {
                pool.run(&tenant(name), move || order_in.send(name).unwrap()).await
            }));
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.run(&tenant("c"), || ()).await, Err(Refused::Full));
        hold.send(()).unwrap();
        blocker.await.unwrap().unwrap();
        for task in waiting {
            task.await.unwrap().unwrap();
        }
        assert_eq!(order.try_iter().collect::<Vec<_>>(), ["a", "b", "a"]);
        drop(clock);
    }

    #[tokio::test]
    async fn what_waited_too_long_is_not_started() {
        let (pool, clock) = pool(1, 10);
        let mover = clock.clone();
        let (started_in, started) = mpsc::channel();
        let (hold, held) = mpsc::channel::<()>();
        let first = {
            let pool = pool.clone();
            tokio::spawn(async move {
                pool.run(&tenant("a"), move || {
                    started_in.send(()).unwrap();
                    held.recv().unwrap();
                    mover.advance(Duration::from_secs(6));
                })
                .await
            })
        };
        tokio::task::spawn_blocking(move || started.recv().unwrap()).await.unwrap();
        let second = {
            let pool = pool.clone();
            tokio::spawn(async move {
                let work: fn() = || panic!("must not start");
                pool.run(&tenant("a"), work).await
            })
        };
        tokio::task::yield_now().await;
        hold.send(()).unwrap();
        first.await.unwrap().unwrap();
        assert_eq!(second.await.unwrap(), Err(Refused::Waited));
    }
}
