//! Tools that look at one process see the jobs of an `in_process` pool: a debugger and a checker.
//! Where a tool is not installed its test says so and looks at the program without it.

use std::process::{Command, ExitStatus};

use pool_tests::{isolated, run_puppet, scratch};

const PUPPET: &str = env!("CARGO_BIN_EXE_puppet-in-process");
const SOURCE: &str = include_str!("puppets/in_process.rs");

/// Whether the tool is there and can be used.
fn is_there(tool: &str, try_it: &mut Command) -> bool {
    let works = try_it.output().is_ok_and(|output| output.status.success());
    if !works {
        println!("skipped in part: {tool} is not installed, or cannot work here");
    }
    works
}

fn puppet(how: &str) -> (ExitStatus, String) {
    run_puppet(Command::new(PUPPET).arg(how))
}

#[pool::test]
fn a_debugger_stops_in_a_job() {
    isolated(|| {
        let (status, said) = puppet("sum");
        assert!(status.success() && said.contains("sum: 210, attempt: 1"), "{said}");
        let ptrace = ["-nx", "-batch", "-ex", "run", "--args", "true"];
        if !is_there("gdb", Command::new("gdb").args(ptrace)) {
            return;
        }
        let line = 1 + SOURCE.lines().position(|line| line.contains("black_box(a + b)")).unwrap();
        let breakpoint = format!("break puppets/in_process.rs:{line}");
        let mut gdb = Command::new("gdb");
        gdb.args(["-nx", "-batch", "-ex", "set debuginfod enabled off"]);
        gdb.args(["-ex", "set breakpoint pending on", "-ex", &breakpoint, "-ex", "run"]);
        gdb.args(["-ex", "backtrace", "-ex", "info threads", "-ex", "kill"]);
        let (_, said) = run_puppet(gdb.args(["--args", PUPPET, "sum"]));
        let stop = said.lines().find(|line| line.contains("hit Breakpoint"));
        let is_in_job = |stop: &str| stop.contains("watched_job") && stop.contains("pool-worker");
        assert!(stop.is_some_and(is_in_job), "{said}");
        // The loop that called it is on the same stack.
        assert!(said.contains("serve_on_thread"), "{said}");
    });
}

#[pool::test]
fn a_checker_sees_what_a_job_does_to_memory() {
    isolated(|| {
        if !is_there("valgrind", Command::new("valgrind").arg("--version")) {
            let (status, said) = puppet("sum");
            assert!(status.success(), "{said}");
            return;
        }
        let check = |how: &str| {
            let log = scratch(how);
            let mut valgrind = Command::new("valgrind");
            valgrind.args(["--error-exitcode=99", "--num-callers=40", "-q"]);
            valgrind.arg(format!("--log-file={}", log.display()));
            let (status, said) = run_puppet(valgrind.args([PUPPET, how]));
            (status.code(), said, std::fs::read_to_string(log).unwrap_or_default())
        };
        let (code, said, found) = check("sum");
        assert_eq!(code, Some(0), "{said}\n{found}");
        assert!(said.contains("sum: 210"), "{said}");
        let (code, _, found) = check("stray");
        assert_eq!(code, Some(99), "{found}");
        assert!(found.contains("Invalid read") && found.contains("stray_job"), "{found}");
    });
}

#[pool::test]
fn a_job_that_aborts_takes_the_program_with_it() {
    isolated(|| {
        let (status, said) = puppet("abort");
        assert!(!status.success() && !said.contains("abort:"), "{status:?}: {said}");
    });
}

#[pool::test]
fn the_programs_panic_hook_hears_of_all_but_the_jobs() {
    isolated(|| {
        let (status, said) = puppet("panic");
        assert!(status.success(), "{said}");
        assert!(said.contains("the program's hook") && said.contains("on a thread"), "{said}");
        let job = said.lines().find(|line| line.starts_with("job: ")).expect("its error");
        assert!(job.contains("in_process.rs:") && job.contains("in a job"), "{said}");
        assert_eq!(said.matches("in a job").count(), 1, "{said}");
    });
}
