use pool::{call, pool_job};

#[pool_job]
fn print(what: &dyn ToString, _boxed: Box<dyn ToString>) -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", what.to_string());
    Ok(())
}

fn main() {
    let _ = call!(print, &1, Box::new(2));
}
