//! A web service that computes in workers: it never hangs, and any request can be ended.
//!
//! - `GET /primes/1000` waits for the answer. If the client hangs up, the job ends.
//! - `POST /primes/1000` starts a job that outlives its request, and answers with its id.
//! - `GET /jobs/ID` says how far it is, and then, once, what came of it. `DELETE /jobs/ID` kills it.
//!
//! Without an argument it shows all this to a client of its own and ends. With `serve` and
//! an address it serves until you press Ctrl-C:
//! `cargo run -p pool-examples --example web_service -- serve 127.0.0.1:8000`

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use pool::{EventStream, JobError, JobErrorKind, JobHandle, Pool, PoolEvent, call, pool_job};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// How many primes are below `n`. It never looks whether anybody still wants to know.
#[pool_job(timeout = "60s")]
fn primes(n: u64) -> u64 {
    let is_prime = |n: &u64| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0);
    (2..n).filter(is_prime).count() as u64
}

#[derive(Clone)]
struct Service {
    pool: Pool,
    /// What `POST` started and nobody has fetched yet.
    jobs: Arc<Mutex<HashMap<String, JobHandle<u64>>>>,
}

type Answer = (StatusCode, String);

async fn compute(State(service): State<Service>, Path(n): Path<u64>) -> Answer {
    // If the client hangs up, the server drops this future, and with it the handle.
    answer(service.pool.submit(call!(primes, n)).cancel_on_drop().await)
}

async fn start(State(service): State<Service>, Path(n): Path<u64>) -> Answer {
    let mut jobs = service.jobs.lock().unwrap_or_else(PoisonError::into_inner);
    if jobs.len() >= 1000 {
        return (StatusCode::SERVICE_UNAVAILABLE, "fetch or delete some jobs first".to_owned());
    }
    let handle = service.pool.submit(call!(primes, n));
    let id = handle.id().to_string();
    jobs.insert(id.clone(), handle);
    (StatusCode::ACCEPTED, id)
}

async fn fetch(State(service): State<Service>, Path(id): Path<String>) -> Answer {
    let handle = {
        let mut jobs = service.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        match jobs.get(&id) {
            Some(handle) if !handle.is_finished() => {
                return (StatusCode::ACCEPTED, format!("{:?}", handle.status()));
            }
            _ => jobs.remove(&id),
        }
    };
    match handle {
        Some(handle) => answer(handle.await),
        None => (StatusCode::NOT_FOUND, "there is no such job".to_owned()),
    }
}

async fn kill(State(service): State<Service>, Path(id): Path<String>) -> Answer {
    match service.jobs.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
        Some(handle) => handle.kill(),
        None => return (StatusCode::NOT_FOUND, "there is no such job".to_owned()),
    }
    (StatusCode::OK, "killed".to_owned())
}

fn answer(result: Result<u64, JobError>) -> Answer {
    let error = match result {
        Ok(count) => return (StatusCode::OK, count.to_string()),
        Err(error) => error,
    };
    let status = match error.kind() {
        JobErrorKind::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        JobErrorKind::QueueFull | JobErrorKind::PoolClosed => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, error.to_string())
}

#[pool::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let is_demo = arguments.next().as_deref() != Some("serve");
    // Port 0: one that is free.
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    println!("listening on http://{address}");

    // What is beyond the capacity is answered with 503, not kept waiting.
    let pool = Pool::builder().workers(2).queue_capacity(100).build()?;
    let service = Service { pool: pool.clone(), jobs: Arc::default() };
    let router = Router::new()
        .route("/primes/{n}", get(compute).post(start))
        .route("/jobs/{id}", get(fetch).delete(kill))
        .with_state(service);
    let log = tokio::spawn(log(pool.events()));
    tokio::select! {
        served = axum::serve(listener, router).into_future() => served?,
        pressed = tokio::signal::ctrl_c() => pressed?,
        shown = show(address, &pool), if is_demo => shown?,
    }
    // Kills what still runs; `close` would let it end.
    pool.shutdown().await;
    Ok(log.await?)
}

async fn log(mut events: EventStream) {
    while let Some(event) = events.next().await {
        match event {
            PoolEvent::JobStarted { id, slot, .. } => println!("  job {id} runs in worker {slot}"),
            PoolEvent::JobEnded { id, outcome: Ok(()) } => println!("  job {id} is done"),
            PoolEvent::JobEnded { id, outcome: Err(kind) } => println!("  job {id} {kind}"),
            _ => {}
        }
    }
}

/// What a client sees, and what becomes of jobs that nobody wants any more.
async fn show(service: SocketAddr, pool: &Pool) -> io::Result<()> {
    let endless = format!("/primes/{}", u64::MAX);
    request(service, "GET /primes/1000").await?;

    let id = request(service, &format!("POST {endless}")).await?;
    request(service, &format!("GET /jobs/{id}")).await?;
    request(service, &format!("DELETE /jobs/{id}")).await?;

    let connection = send(service, &format!("GET {endless}")).await?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    println!("hanging up");
    drop(connection);

    // Waits for all jobs: if one of the two endless ones were left, for a minute.
    pool.close().await;
    Ok(())
}

/// Sends a request and prints the answer.
async fn request(service: SocketAddr, what: &str) -> io::Result<String> {
    let mut answer = String::new();
    send(service, what).await?.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    println!("{what}: {}: {body}", head.lines().next().unwrap_or_default());
    Ok(body.to_owned())
}

async fn send(service: SocketAddr, what: &str) -> io::Result<TcpStream> {
    let mut connection = TcpStream::connect(service).await?;
    let head = format!("{what} HTTP/1.1\r\nHost: {service}\r\nConnection: close\r\n\r\n");
    connection.write_all(head.as_bytes()).await?;
    Ok(connection)
}
