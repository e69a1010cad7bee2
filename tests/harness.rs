//! Tests that use pools, in an ordinary test harness and beside ordinary tests.

use std::io::Write as _;

use pool::{Output, Pool, pool_job, submit};
use pool_tests::{End, Isolation, isolated, jobs};

#[pool_job]
fn say(text: &str) {
    println!("{text}");
    eprintln!("{text}, to stderr");
    // Without a line end, at the end of the worker's life.
    print!("{text}, unfinished");
    std::io::stdout().flush().unwrap();
}

#[pool_job]
fn say_long(letter: char, len: usize) {
    // One write: the parts of several writes may stand among those of other workers.
    let line = format!("<{}>\n", letter.to_string().repeat(len));
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

#[pool_job]
async fn add_later(a: u32, b: u32) -> u32 {
    tokio::task::yield_now().await;
    a + b
}

#[test]
fn a_plain_test_is_a_test() {
    assert_eq!(1 + 1, 2);
}

#[test]
fn a_plain_test_may_use_a_pool_where_another_is_wrapped() {
    let pool = Pool::new(1).unwrap();
    assert_eq!(submit!(pool => jobs::echo, 3).wait().unwrap(), 3);
}

#[test]
#[ignore = "it shows that workers leave ignored tests alone"]
fn an_ignored_plain_test() {
    unreachable!("nobody asked for this");
}

#[pool::test]
fn a_sync_test_may_use_the_global_pool() {
    assert_eq!(submit!(jobs::echo, 3).wait().unwrap(), 3);
}

#[pool::test]
async fn an_async_test_may_use_the_global_pool() {
    assert_eq!(submit!(add_later, 1, 2).await.unwrap(), 3);
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
}

#[pool::test]
fn a_test_may_return_a_result() -> Result<(), pool::JobError> {
    let three = submit!(add_later, 1, 2).wait()?;
    assert_eq!(three, 3);
    Ok(())
}

#[pool::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_async_test_may_return_a_result() -> Result<(), Box<dyn std::error::Error>> {
    let sum = tokio::spawn(async { submit!(add_later, 1, 2).await }).await??;
    assert_eq!(sum, 3);
    Ok(())
}

#[pool::test]
#[should_panic(expected = "the sum was 3")]
fn a_test_that_should_panic_may() {
    panic!("the sum was {}", submit!(add_later, 1, 2).wait().unwrap());
}

#[pool::test]
#[should_panic(expected = "the sum was 3")]
async fn an_async_test_that_should_panic_may() {
    panic!("the sum was {}", submit!(add_later, 1, 2).await.unwrap());
}

#[pool::test]
#[ignore = "it shows that an ignored test is no worse a door for workers"]
fn an_ignored_test() {
    unreachable!("nobody asked for this");
}

mod inner {
    #[pool::test]
    fn a_test_in_a_module_is_found_by_its_path() {
        super::isolated(|| {
            let pool = super::Pool::new(1).unwrap();
            assert_eq!(super::submit!(pool => super::jobs::echo, 3).wait().unwrap(), 3);
        });
    }
}

#[pool::test]
async fn an_async_test_can_be_isolated() {
    // Its runtime is there in every stage.
    isolated(|| {
        let pool = Pool::new(1).unwrap();
        assert_eq!(submit!(pool => jobs::echo, 3).wait().unwrap(), 3);
    });
}

#[pool::test]
fn what_jobs_print_arrives_and_nothing_else_of_the_workers() {
    let body = || {
        let pool = Pool::new(2).unwrap();
        pool::block_on(pool.ready()).unwrap();
        submit!(pool => say, "hear me").wait().unwrap();
        let long: Vec<_> =
            ('a'..='f').map(|letter| submit!(pool => say_long, letter, 3000)).collect();
        long.into_iter().for_each(|job| job.wait().unwrap());
    };
    Isolation::new().run_and_read(body, |output| {
        assert_eq!(output.matches("running 1 test").count(), 1, "{output}");
        assert_eq!(output.matches("test result: ok. 1 passed").count(), 1, "{output}");
        assert_eq!(output.matches("hear me\n").count(), 1, "{output}");
        assert_eq!(output.matches("hear me, to stderr\n").count(), 1, "{output}");
        assert_eq!(output.matches("hear me, unfinished").count(), 1, "{output}");
        for letter in 'a'..='f' {
            let whole = format!("<{}>", letter.to_string().repeat(3000));
            assert_eq!(output.matches(&whole).count(), 1, "{letter} is not whole");
        }
    });
}

#[pool::test]
fn what_jobs_print_can_be_thrown_away() {
    let body = || {
        let quiet = Pool::builder().workers(1).stdout(Output::Null).build().unwrap();
        submit!(quiet => say, "one").wait().unwrap();
        let quiet = Pool::builder().workers(1).stderr(Output::Null).build().unwrap();
        submit!(quiet => say, "two").wait().unwrap();
    };
    Isolation::new().run_and_read(body, |output| {
        assert!(!output.contains("one\n") && output.contains("one, to stderr\n"), "{output}");
        assert!(output.contains("two\n") && !output.contains("two, to stderr\n"), "{output}");
    });
}

#[pool::test]
fn the_global_pool_lives_until_the_end_of_the_program() {
    Isolation::new().end(End::WithPool).run(|| {
        assert_eq!(submit!(jobs::echo, 3).wait().unwrap(), 3);
        std::thread::spawn(|| submit!(jobs::echo, 4).wait().unwrap()).join().unwrap();
    });
}
