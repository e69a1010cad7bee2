//! How much memory a worker has while it runs a job that has a limit.
//!
//! The host looks: a worker is not trusted, and a job that spins would not let it. It looks the
//! more often the closer the worker is to the limit, and not at all while no job has one. The last
//! look is when the job's reply is read: what it leaves behind must not be the next one's fault.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::core::Host;
use super::link::Link;
use super::news::News;

/// Nobody fills memory faster than this, in bytes a second.
const FASTEST: u64 = 4 << 30;
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Whether job `seq`, whose reply was read, leaves the worker beyond its limit.
pub(super) fn is_bloated(link: &Link, seq: u64) -> bool {
    let limit = link.limits.end(seq);
    limit.is_some_and(|limit| link.process.resident_memory().is_some_and(|has| has > limit))
}

/// Looks for as long as the worker lives. May be dropped at any time.
pub(super) async fn watch(host: &Host, link: &Arc<Link>) -> Infallible {
    loop {
        let wait = match link.limits.first() {
            None => {
                link.limits.wanted().await;
                continue;
            }
            // Not begun, and may lie there for long.
            Some((seq, _)) if !link.was_claimed(seq) => SHORTEST_WAIT,
            Some((seq, limit)) => match link.process.resident_memory() {
                Some(has) if has > limit => {
                    host.enter_as_driver(News::OverMemory(Box::new((link.worker, seq))));
                    LONGEST_WAIT
                }
                has => time_to_fill(limit.saturating_sub(has.unwrap_or_default())),
            },
        };
        tokio::time::sleep(wait).await;
    }
}

fn time_to_fill(bytes: u64) -> Duration {
    let wait = Duration::from_micros(bytes / (FASTEST / 1_000_000));
    wait.clamp(SHORTEST_WAIT, LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closer_the_sooner() {
        assert_eq!(time_to_fill(0), SHORTEST_WAIT);
        assert_eq!(time_to_fill(u64::MAX), LONGEST_WAIT);
        let wait = time_to_fill(40 << 20);
        assert!(wait > SHORTEST_WAIT && wait < LONGEST_WAIT, "{wait:?}");
    }
}
