use std::collections::HashMap;

use pool::{call, pool_job};
use serde::{Deserialize, Serialize};

struct Neither;

#[derive(Serialize)]
struct OnlySent;

#[derive(Deserialize)]
struct OnlyReceived;

#[pool_job]
fn first(number: u32, what: Neither) -> u32 {
    let _ = what;
    number
}

#[pool_job]
fn second(number: u32, what: &OnlySent, list: &[OnlyReceived]) -> u32 {
    let _ = (what, list);
    number
}

#[pool_job]
fn third() -> HashMap<u32, Neither> {
    HashMap::new()
}

fn main() {
    let _ = call!(first, 1, Neither);
    let _ = call!(second, 1, &OnlySent, &[OnlyReceived]);
    let _ = call!(third);
}
