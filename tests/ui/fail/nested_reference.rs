use std::borrow::Cow;

use pool::{call, pool_job};

#[pool_job]
fn join(parts: &[&str], last: Option<&str>, title: Cow<'_, str>) -> String {
    format!("{title}{}{}", parts.concat(), last.unwrap_or_default())
}

fn main() {
    let _ = call!(join, &["a"], None, "b".into());
}
