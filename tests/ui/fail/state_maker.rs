struct Model;

#[pool::state(name = "model")]
async unsafe fn all<T>(path: &str) -> Result<(), String> {
    Ok(())
}

#[pool::state]
fn nothing() {}

#[pool::state]
fn unit() -> () {}

#[pool::state]
fn never() -> ! {
    loop {}
}

#[pool::state]
fn unnamed() -> impl Sized {
    Model
}

struct NoText;

#[pool::state]
fn fails() -> Result<Model, NoText> {
    Err(NoText)
}

#[pool::state]
struct Other;

struct Shop;

impl Shop {
    #[pool::state]
    fn open(&self) -> Model {
        Model
    }
}

fn main() {}
