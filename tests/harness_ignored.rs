//! A test binary whose only door for workers is an ignored test.

use pool::{Pool, submit};
use pool_tests::jobs;

#[pool::test]
#[ignore = "it is a door all the same"]
fn the_only_wrapped_test_is_ignored() {
    unreachable!("nobody asked for this");
}

#[test]
fn workers_come_in_through_an_ignored_test() {
    pool_tests::isolated(|| {
        let pool = Pool::new(2).unwrap();
        assert_eq!(submit!(pool => jobs::echo, 3).wait().unwrap(), 3);
    });
}
