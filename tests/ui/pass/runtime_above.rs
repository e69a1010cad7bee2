//! A runtime's attribute above `main`: it is done first, and leaves a `main` that is not `async`.

#![deny(warnings)]

#[pool::pool_job]
async fn add(a: u32, b: u32) -> u32 {
    std::future::ready(a + b).await
}

#[tokio::main(flavor = "current_thread")]
#[pool::main]
async fn main() {
    assert_eq!(pool::submit!(add, 1, 2).await.unwrap(), 3);
    let flavor = tokio::runtime::Handle::current().runtime_flavor();
    assert_eq!(flavor, tokio::runtime::RuntimeFlavor::CurrentThread);
}
