//! The examples as a stranger runs them: what they print, how they end, and that no process is
//! left of them. Only `testing_your_jobs` is missing: its tests are its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use pool_tests::{isolated, proc, run_puppet, scratch, wait_until};

/// Cargo builds examples before tests, in a folder beside them, and tells nobody where.
fn example(name: &str) -> Command {
    let tests = env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.exists(), "`cargo build --package pool-examples --examples` makes {path:?}");
    Command::new(path)
}

/// What an example prints that ends by itself.
fn run(command: &mut Command) -> String {
    let (status, printed) = run_puppet(command);
    assert!(status.success(), "{status}:\n{printed}");
    printed
}

#[track_caller]
fn assert_has(printed: &str, parts: &[&str]) {
    for part in parts {
        assert!(printed.contains(part), "no {part:?} in:\n{printed}");
    }
}

/// An example that goes on until it is told to end.
struct Served {
    process: Child,
    lines: BufReader<ChildStdout>,
}

impl Served {
    fn start(name: &str) -> Served {
        let mut command = example(name);
        command.arg("serve").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        Served { process, lines }
    }

    /// Reads on to the next line with `part` in it.
    fn line(&mut self, part: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "it ended without {part:?}");
            if line.contains(part) {
                return line;
            }
        }
    }

    fn press_ctrl_c(&self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    }

    fn workers(&self) -> Vec<u32> {
        let mut workers = proc::children(self.process.id());
        workers.sort_unstable();
        workers
    }

    /// Until it has ended, and what it printed until then.
    fn rest(mut self) -> String {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        assert!(self.process.wait().unwrap().success(), "{rest}");
        rest
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[pool::test]
fn hello_adds() {
    isolated(|| assert_eq!(run(&mut example("hello")), "3\n"));
}

#[pool::test]
fn survive_a_crash_names_both_documents() {
    isolated(|| {
        let printed = run(&mut example("survive_a_crash"));
        assert_has(&printed, &["bottomless.txt: a crash", "question.txt: no crash", "8 results"]);
    });
}

#[pool::test]
fn timeout_and_cancel_ends_four_jobs() {
    isolated(|| {
        let printed = run(&mut example("timeout_and_cancel"));
        assert_has(&printed, &["timed out after 200ms", "was cancelled", "after some steps"]);
    });
}

#[pool::test]
fn work_off_a_queue_leaves_the_queue_empty() {
    isolated(|| {
        let printed = run(&mut example("work_off_a_queue"));
        assert_has(&printed, &["5 succeeded, 0 are left", "succeeded in another pool, 0 are left"]);
    });
}

#[pool::test]
fn foreign_files_reports_each_bad_file_by_its_label_and_reads_the_others() {
    isolated(|| {
        let printed = run(&mut example("foreign_files"));
        let line = |of: &str| printed.lines().find(|line| line.contains(of)).unwrap_or_default();
        assert_has(line("bomb.doc\""), &["attempt 2", "used more memory"]);
        assert_has(line("cycle.doc\""), &["attempt 1", "timed out after 2s"]);
        assert_has(line("deep.doc\""), &["attempt 2", "crashed", "SIGABRT"]);
        assert_has(line("torn.doc: "), &["it is empty"]);
        assert_has(&printed, &["its last words: \"parser.c:1234: stack overflow\""]);
        assert_has(&printed, &["428 words in 22 files; 4 are bad"]);
    });
}

#[pool::test]
fn foreign_files_takes_a_folder_of_the_users() {
    isolated(|| {
        let folder = scratch("folder");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("a.doc"), "one two three").unwrap();
        fs::write(folder.join("b.doc"), [0xff, 0xfe]).unwrap();
        let printed = run(example("foreign_files").arg(&folder));
        assert_has(&printed, &["b.doc: ", "3 words in 1 files; 1 are bad"]);
        // A folder that is not there.
        let (status, _) = run_puppet(example("foreign_files").arg(folder.join("nothing")));
        assert_eq!(status.code(), Some(1));
    });
}

#[pool::test]
fn map_with_progress_hashes_a_folder_and_says_how_far_it_is() {
    isolated(|| {
        let folder = scratch("folder");
        fs::create_dir_all(folder.join("no file")).unwrap();
        for (name, content) in [("empty", ""), ("short", "a"), ("word", "foobar")] {
            fs::write(folder.join(name), content).unwrap();
        }
        let printed = run(example("map_with_progress").arg(&folder));
        // Known hashes.
        assert_has(&printed, &["cbf29ce484222325  empty", "af63dc4c8601ec8c  short"]);
        assert_has(&printed, &["85944171f73967e8  word", "hash: 3 of 3 (100 %)"]);
    });
}

#[pool::test]
fn map_with_progress_makes_files_of_its_own() {
    isolated(|| {
        let printed = run(&mut example("map_with_progress"));
        assert_has(&printed, &["hash: 12 of 12 (100 %)", "637a2df54e222325  zeros-01"]);
        assert!(!printed.contains('\r'), "a bar in a file: {printed}");
    });
}

#[pool::test]
fn graceful_shutdown_shows_both_ends() {
    isolated(|| {
        let printed = run(&mut example("graceful_shutdown"));
        let (once, twice) = printed.split_once("Ctrl-C twice").unwrap();
        assert_has(once, &["finishing what was accepted", "finished, 0 cut off"]);
        assert_has(twice, &["ending now", "did not end before its pool was closed"]);
    });
}

#[pool::test]
fn graceful_shutdown_finishes_at_the_first_interrupt() {
    isolated(|| {
        let mut served = Served::start("graceful_shutdown");
        served.line("page 3 is rendered");
        served.press_ctrl_c();
        assert_has(&served.rest(), &["is rendered", " finished, 0 cut off"]);
    });
}

#[pool::test]
fn graceful_shutdown_ends_at_the_second_interrupt() {
    isolated(|| {
        let mut served = Served::start("graceful_shutdown");
        served.line("page 3 is rendered");
        served.press_ctrl_c();
        served.line("finishing");
        served.press_ctrl_c();
        let rest = served.rest();
        assert!(!rest.contains(" 0 cut off"), "{rest}");
    });
}

#[pool::test]
fn web_service_shows_itself() {
    isolated(|| {
        let printed = run(&mut example("web_service"));
        assert_has(&printed, &["200 OK: 168", "202 Accepted: Running", "200 OK: killed"]);
        assert_eq!(printed.matches("was cancelled").count(), 2, "{printed}");
    });
}

/// Requests to the web service, one connection each.
struct Client(String);

impl Client {
    fn send(&self, what: &str) -> TcpStream {
        let mut connection = TcpStream::connect(&self.0).unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(connection, "{what} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        connection
    }

    /// Status and body.
    fn request(&self, what: &str) -> (u16, String) {
        let mut answer = String::new();
        self.send(what).read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split_whitespace().nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

const ENDLESS: &str = "/primes/18446744073709551615";
/// A worker that has had so many ticks of the processors runs its job: to start takes less than one.
const MORE_THAN_A_START: u64 = 5;

fn web_service() -> (Served, Client) {
    let mut served = Served::start("web_service");
    let line = served.line("http://");
    let client = Client(line.trim().rsplit('/').next().unwrap().to_owned());
    (served, client)
}

#[pool::test]
fn web_service_answers_requests_and_keeps_what_post_started() {
    isolated(|| {
        let (served, client) = web_service();
        assert_eq!(client.request("GET /primes/100"), (200, "25".to_owned()));
        assert_eq!(client.request("GET /primes/many").0, 400);
        assert_eq!(client.request("GET /jobs/777").0, 404);
        assert_eq!(client.request("DELETE /jobs/777").0, 404);

        let (status, id) = client.request("POST /primes/1000");
        assert_eq!(status, 202);
        let mut answer = (202, String::new());
        wait_until("the job is done", || {
            answer = client.request(&format!("GET /jobs/{id}"));
            answer.0 != 202
        });
        assert_eq!(answer, (200, "168".to_owned()));
        assert_eq!(client.request(&format!("GET /jobs/{id}")).0, 404);
        served.press_ctrl_c();
        served.rest();
    });
}

#[pool::test]
fn web_service_kills_what_is_deleted() {
    isolated(|| {
        let (mut served, client) = web_service();
        let (status, id) = client.request(&format!("POST {ENDLESS}"));
        assert_eq!(status, 202);
        served.line(&format!("job {id} runs"));
        let before = served.workers();
        wait_until("it runs", || before.iter().any(|pid| proc::ticks(*pid) >= MORE_THAN_A_START));
        assert_eq!(client.request(&format!("DELETE /jobs/{id}")).0, 200);
        served.line(&format!("job {id} was cancelled"));
        wait_until("its worker is gone", || before.iter().any(|pid| !proc::is_alive(*pid)));
        assert_eq!(client.request("GET /primes/100"), (200, "25".to_owned()));
        served.press_ctrl_c();
        served.rest();
    });
}

#[pool::test]
fn web_service_kills_the_job_of_a_client_that_hangs_up() {
    isolated(|| {
        let (mut served, client) = web_service();
        let connection = client.send(&format!("GET {ENDLESS}"));
        served.line("runs in worker");
        let before = served.workers();
        wait_until("it runs", || before.iter().any(|pid| proc::ticks(*pid) >= MORE_THAN_A_START));
        drop(connection);
        served.line("was cancelled");
        wait_until("its worker is gone", || before.iter().any(|pid| !proc::is_alive(*pid)));
        assert_eq!(client.request("GET /primes/100"), (200, "25".to_owned()));
        served.press_ctrl_c();
        served.rest();
    });
}

#[pool::test]
fn web_service_ends_at_an_interrupt_whatever_runs() {
    isolated(|| {
        let (mut served, client) = web_service();
        client.request(&format!("POST {ENDLESS}"));
        served.line("runs in worker");
        served.press_ctrl_c();
        assert_has(&served.rest(), &["did not end before its pool was closed"]);
    });
}

#[pool::test]
fn worker_state_loads_once_in_each_worker_that_guesses() {
    isolated(|| {
        let printed = run(&mut example("worker_state"));
        assert_has(&printed, &["le chat et le chien: french (", "0xDEADBEEF: none that I know ("]);
        let loads = printed.matches("loads the model").count();
        let workers = printed.matches("(guess 1 of worker").count();
        assert!(loads == workers && (1..=2).contains(&loads), "{printed}");
        assert_eq!(printed.matches("(guess ").count(), 24, "{printed}");
    });
}

#[pool::test]
fn worker_state_says_why_there_is_no_model() {
    isolated(|| {
        let (status, printed) = run_puppet(example("worker_state").arg("/nowhere/model"));
        assert_eq!(status.code(), Some(1));
        assert_has(&printed, &["worker_state::load", "model /nowhere/model: No such file"]);
    });
}
