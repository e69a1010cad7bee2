//! The isolation of the process tests is worth something: it notices what is left behind.

use std::fs;
use std::process::Command;
use std::time::Duration;

use pool::{Pool, submit};
use pool_tests::{End, Isolation, jobs};

#[pool::test]
fn a_body_that_fails_is_noticed() {
    Isolation::new().must_fail("a body fails", || panic!("a body fails"));
}

#[pool::test]
fn a_process_that_lives_on_is_noticed() {
    let body = || {
        let child = Command::new("sleep").arg("10000").spawn().unwrap();
        std::mem::forget(child);
    };
    Isolation::new().must_fail("sleep 10000", body);
}

#[pool::test]
fn a_process_that_was_not_reaped_is_noticed() {
    let body = || {
        let child = Command::new("true").spawn().unwrap();
        pool_tests::wait_until("it is dead", || !pool_tests::proc::is_alive(child.id()));
        std::mem::forget(child);
    };
    Isolation::new().must_fail("the host left processes behind", body);
}

#[pool::test]
fn a_pool_that_lives_on_is_noticed() {
    let body = || {
        let pool = Pool::new(1).unwrap();
        submit!(pool => jobs::pid).wait().unwrap();
        std::mem::forget(pool);
    };
    Isolation::new().must_fail("left in the host: threads", body);
}

#[pool::test]
fn an_open_descriptor_is_noticed() {
    let body = || std::mem::forget(fs::File::open("/dev/zero").unwrap());
    Isolation::new().must_fail("left in the host: descriptors", body);
}

#[pool::test]
fn a_file_in_the_temporary_directory_is_noticed() {
    let body = || fs::write(std::env::temp_dir().join("left"), "").unwrap();
    Isolation::new().must_fail("the host left files behind", body);
}

#[pool::test]
fn a_body_that_hangs_is_noticed() {
    let body = || {
        let pool = Pool::new(1).unwrap();
        submit!(pool => jobs::spin, &pool_tests::scratch("started")).wait().unwrap();
    };
    Isolation::new().watchdog(Duration::from_secs(1)).must_fail("the host was not done", body);
}

#[pool::test]
fn an_end_before_the_end_of_the_body_is_noticed() {
    Isolation::new().must_fail(r#"did not come to their end: ["host"]"#, || std::process::exit(0));
}

#[pool::test]
fn another_end_than_was_announced_is_noticed() {
    let body = || std::process::exit(4);
    Isolation::new().end(End::Code(3)).must_fail("expected: Code(3)", body);
}
