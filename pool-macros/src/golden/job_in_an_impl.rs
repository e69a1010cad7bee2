fn add(&self, a: u32) {}
::core::compile_error! {
    "a job has no `self`: it runs in another process, and a worker finds it by its path; make it a free function and take the value as a parameter"
}
