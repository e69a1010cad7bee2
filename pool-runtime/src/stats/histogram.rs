//! [`Histogram`]: how long things took, in constant memory.

use std::fmt;
use std::time::Duration;

/// Buckets of one octave, as a power of two: each is a 32nd of its value wide, or less.
const FINE: u32 = 5;
/// Nanoseconds are told apart by steps of so many bits.
const STEP: u32 = 5;
/// Beyond 2^48 steps, which are 104 days, everything is the same.
const TOP: u64 = (1 << 48) - 1;
const BUCKETS: usize = index_of(TOP) + 1;

/// How long many things took: count, mean and quantiles.
///
/// Takes the same few kilobytes however much was counted. The count, the mean and the longest are
/// exact; a quantile is off by at most 1/64 of its value (1.6 %), or by 16 ns where that is more.
/// What took longer than 104 days counts as that long.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use pool::{Pool, call, pool_job};
///
/// #[pool_job]
/// fn nap(millis: u64) {
///     std::thread::sleep(Duration::from_millis(millis));
/// }
///
/// #[pool::main]
/// fn main() {
///     let pool = Pool::new(2).unwrap();
///     for millis in [1, 2, 3] {
///         pool.submit(call!(nap, millis)).wait().unwrap();
///     }
///     let run = pool.stats().run;
///     assert_eq!(run.count(), 3);
///     assert!(run.mean() >= Duration::from_millis(2));
///     println!("half of them took at most {:?}, the longest {:?}", run.quantile(0.5), run.max());
/// }
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Empty until something is counted.
    buckets: Vec<u64>,
    count: u64,
    /// All of them together, and the two ends, in nanoseconds.
    sum: u128,
    least: u64,
    most: u64,
}

impl Histogram {
    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What one took on average; zero if nothing was counted.
    pub fn mean(&self) -> Duration {
        let mean = self.sum.checked_div(u128::from(self.count)).unwrap_or_default();
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// What the given part of them took at most: `quantile(0.5)` is the median, and of a hundred
    /// only one took longer than `quantile(0.99)`.
    ///
    /// A `q` outside of `0.0..=1.0` counts as the nearer end. Zero if nothing was counted, and for
    /// a `q` that is not a number.
    pub fn quantile(&self, q: f64) -> Duration {
        if self.count == 0 || q.is_nan() {
            return Duration::ZERO;
        }
        // The number of the one that is looked for, counted from the shortest.
        let wanted = (q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64;
        let wanted = wanted.clamp(1, self.count);
        if wanted == self.count {
            return self.max();
        }
        let mut seen = 0;
        let found = self.buckets.iter().position(|&n| {
            seen += n;
            seen >= wanted
        });
        let nanos = found.map_or(self.most, middle_of);
        Duration::from_nanos(nanos.clamp(self.least, self.most))
    }

    /// What the longest took; zero if nothing was counted.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.most)
    }

    /// Counts one thing that took so many nanoseconds.
    #[inline]
    pub(crate) fn record(&mut self, nanos: u64) {
        let index = index_of(nanos >> STEP);
        match self.buckets.get_mut(index) {
            Some(bucket) => *bucket += 1,
            None => self.count_beyond(nanos),
        }
        self.count += 1;
        self.sum += u128::from(nanos);
        if nanos < self.least {
            self.least = nanos;
        }
        if nanos > self.most {
            self.most = nanos;
        }
    }

    /// The first that is counted, or one for which there is no bucket of its own.
    #[cold]
    fn count_beyond(&mut self, nanos: u64) {
        if self.buckets.is_empty() {
            self.buckets = vec![0; BUCKETS];
            self.least = nanos;
        }
        self.buckets[index_of((nanos >> STEP).min(TOP))] += 1;
    }
}

/// The bucket of a value in steps: exact below 64, from there on so many buckets an octave.
const fn index_of(steps: u64) -> usize {
    let shift = (steps | 1 << FINE).ilog2() - FINE;
    ((shift << FINE) as u64 + (steps >> shift)) as usize
}

/// The middle of a bucket, in nanoseconds.
fn middle_of(index: usize) -> u64 {
    let index = index as u64;
    let shift = (index >> FINE).saturating_sub(1);
    let low = (index - (shift << FINE)) << shift;
    (low << STEP) + (1 << (shift + u64::from(STEP)) >> 1)
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count())
            .field("mean", &self.mean())
            .field("median", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nanos: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        nanos.into_iter().for_each(|nanos| histogram.record(nanos));
        histogram
    }

    #[test]
    fn an_empty_one_is_zero_everywhere() {
        let empty = Histogram::default();
        assert_eq!((empty.count(), empty.mean(), empty.max()), (0, Duration::ZERO, Duration::ZERO));
        for q in [0.0, 0.5, 1.0, -1.0, 7.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(empty.quantile(q), Duration::ZERO);
        }
        assert!(empty.buckets.is_empty(), "and costs nothing");
    }

    #[test]
    fn a_quantile_that_makes_no_sense_is_the_nearer_end_or_zero() {
        let histogram = of([1_000_000, 2_000_000, 3_000_000]);
        let ends = [histogram.quantile(0.0), histogram.quantile(1.0)];
        assert_eq!(ends[1], Duration::from_millis(3));
        for (q, end) in [(-0.1, 0), (f64::NEG_INFINITY, 0), (1.1, 1), (f64::INFINITY, 1)] {
            assert_eq!(histogram.quantile(q), ends[end], "{q}");
        }
        assert_eq!(histogram.quantile(f64::NAN), Duration::ZERO);
    }

    #[test]
    fn count_mean_and_longest_are_exact() {
        let histogram = of((1..=1000).map(|n| n * 1_000_003));
        assert_eq!(histogram.count(), 1000);
        assert_eq!(histogram.mean().as_nanos(), 500_500 * 1_000_003 / 1000);
        assert_eq!(histogram.max(), Duration::from_nanos(1000 * 1_000_003));
        // Also where a sum of 64 bits would be at its end.
        let years = of([u64::MAX, u64::MAX, u64::MAX - 3]);
        assert_eq!(years.mean(), Duration::from_nanos(u64::MAX - 1));
        assert_eq!(years.max(), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn what_is_alone_is_every_quantile() {
        for nanos in [0, 1, 31, 1_000, 77_777, 123_456_789, u64::MAX] {
            let histogram = of([nanos]);
            for q in [0.0, 0.01, 0.5, 0.99, 1.0] {
                assert_eq!(histogram.quantile(q), Duration::from_nanos(nanos));
            }
        }
    }

    #[test]
    fn a_quantile_is_off_by_a_64th_at_most() {
        // From less than a microsecond to weeks, in steps of about a hundredth.
        let mut nanos = 1_u64;
        while nanos < 90 * 24 * 3600 * 1_000_000_000 {
            let histogram = of([0, nanos, u64::MAX]);
            let found = u64::try_from(histogram.quantile(0.5).as_nanos()).unwrap();
            let allowed = (nanos / 64).max(16);
            assert!(found.abs_diff(nanos) <= allowed, "{nanos}: {found}");
            nanos += nanos / 97 + 1;
        }
    }

    #[test]
    fn quantiles_are_those_of_a_sorted_list() {
        let mut all = Vec::new();
        let mut seed = 7_u64;
        for _ in 0..20_000 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            all.push(seed >> 33 >> (seed % 23));
        }
        let histogram = of(all.iter().copied());
        all.sort_unstable();
        let mut last = Duration::ZERO;
        for q in [0.0, 0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0] {
            let rank = ((q * all.len() as f64).ceil() as usize).max(1);
            let exact = all[rank - 1];
            let found = histogram.quantile(q);
            let allowed = u128::from((exact / 64).max(16));
            assert!(
                found.as_nanos().abs_diff(u128::from(exact)) <= allowed,
                "{q}: {found:?} {exact}"
            );
            assert!(found >= last, "quantiles grow with q");
            last = found;
        }
    }

    #[test]
    fn memory_does_not_grow() {
        let mut histogram = of([0, u64::MAX]);
        let room = histogram.buckets.capacity();
        assert!(room * 8 <= 12 * 1024, "{room}");
        (0..64).for_each(|shift| histogram.record(1 << shift));
        assert_eq!(histogram.buckets.capacity(), room);
    }

    #[test]
    fn counting_is_cheap() {
        const TIMES: u64 = 1 << 20;
        let mut histogram = Histogram::default();
        let begin = std::time::Instant::now();
        (0..TIMES).for_each(|n| histogram.record(std::hint::black_box(n * 977)));
        println!("{} ns each", begin.elapsed().as_nanos() / u128::from(TIMES));
        assert_eq!(histogram.count(), TIMES);
    }
}
