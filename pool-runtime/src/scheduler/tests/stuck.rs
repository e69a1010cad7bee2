//! What lies behind a job that takes longer than was expected.

use super::*;

const LATENCY: Duration = Duration::from_millis(2);
const SOON: Duration = Duration::from_micros(200);

fn short(bench: &mut Bench, slot: u32) -> Vec<String> {
    let worker = bench.worker(slot);
    bench.feed(Event::Replied { worker, reply: Reply::Done, took: Duration::from_micros(1) })
}

/// Two workers, which have four short jobs each.
fn eight_in_windows() -> Bench {
    let config = Config { workers: 2, window: 8, horizon: LATENCY, latency: LATENCY, ..config() };
    let mut bench = Bench::new(config);
    // Nothing is known of the function until one has ended.
    let _ = bench.submit(0);
    assert_eq!(bench.told(), ["assign 0 to 1, attempt 1, first"]);
    let _ = short(&mut bench, 1);
    for job in 1..=8 {
        let _ = bench.submit(job);
    }
    let told = bench.told();
    let given =
        |slot: u32| told.iter().filter(|line| line.contains(&format!("to {slot},"))).count();
    assert_eq!((given(0), given(1)), (4, 4), "{told:?}");
    bench
}

#[test]
fn who_idles_does_not_wait_for_long_for_what_lies_behind_anothers_head() {
    let mut bench = eight_in_windows();
    for _ in 0..4 {
        let _ = short(&mut bench, 0);
    }
    assert_eq!(bench.wait(SOON - Duration::from_nanos(1)), Vec::<String>::new());
    assert_eq!(bench.wait(Duration::from_nanos(1)), ["recall 1"]);
    let told = bench.recalled(1, 1);
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|line| line.contains("to 0,")), "{told:?}");
}

#[test]
fn who_becomes_idle_beside_one_that_is_stuck_already_is_seen_to_soon() {
    let mut bench = eight_in_windows();
    let _ = bench.wait(SOON * 2);
    for _ in 0..4 {
        let _ = short(&mut bench, 0);
    }
    assert_eq!(bench.wait(SOON), ["recall 1"]);
}

#[test]
fn where_nobody_idles_it_waits_for_longer() {
    let mut bench = eight_in_windows();
    assert_eq!(bench.wait(LATENCY * 2 - Duration::from_nanos(1)), Vec::<String>::new());
    assert_eq!(bench.wait(Duration::from_nanos(1)), ["recall 0", "recall 1"]);
}

#[test]
fn the_next_look_is_when_the_next_is_stuck() {
    let mut bench = eight_in_windows();
    let _ = bench.wait(SOON * 2);
    // The heads of both windows are another now.
    let _ = short(&mut bench, 0);
    let _ = short(&mut bench, 1);
    assert_eq!(bench.wait(LATENCY * 2 - Duration::from_nanos(1)), Vec::<String>::new());
    assert_eq!(bench.wait(Duration::from_nanos(1)), ["recall 0", "recall 1"]);
}
