//! Processes that send back what they get over ipc-channel: typed, as raw bytes, and in shared
//! memory.

use std::process::Child;

use ipc_channel::ipc::{
    self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcReceiver, IpcSender,
    IpcSharedMemory,
};
use serde::{Deserialize, Serialize};

use crate::bare;
use crate::jobs::Record;

const SERVER: &str = "PEERS_IPC_SERVER";

/// What the other process says first: how to reach it.
type Typed<T> = (IpcSender<T>, IpcReceiver<T>);
type Bytes = (IpcBytesSender, IpcBytesReceiver);

pub(crate) fn play(role: &str) {
    match role {
        "ipc typed" => echo::<Vec<Record>>(|records| records),
        "ipc small" => echo::<u8>(|byte| byte),
        "ipc memory" => echo::<IpcSharedMemory>(|bytes| IpcSharedMemory::from_bytes(&bytes)),
        "ipc records" => echo::<IpcSharedMemory>(|bytes| pack(&unpack(&bytes))),
        _ => echo_bytes(),
    }
}

/// In shared memory, in the encoding that the pool uses.
pub(crate) fn pack(records: &Vec<Record>) -> IpcSharedMemory {
    IpcSharedMemory::from_bytes(&rmp_serde::to_vec_named(records).expect("records are plain"))
}

pub(crate) fn unpack(bytes: &[u8]) -> Vec<Record> {
    rmp_serde::from_slice(bytes).expect("it was encoded")
}

fn echo<T: Serialize + for<'de> Deserialize<'de>>(answer: fn(T) -> T) {
    let (requests, theirs) = ipc::channel::<T>().expect("a channel can be made");
    let (ours, answers) = ipc::channel::<T>().expect("a channel can be made");
    hello::<Typed<T>>((requests, answers));
    while let Ok(value) = theirs.recv() {
        if ours.send(answer(value)).is_err() {
            break;
        }
    }
}

fn echo_bytes() {
    let (requests, theirs) = ipc::bytes_channel().expect("a channel can be made");
    let (ours, answers) = ipc::bytes_channel().expect("a channel can be made");
    hello::<Bytes>((requests, answers));
    while let Ok(bytes) = theirs.recv() {
        if ours.send(&bytes).is_err() {
            break;
        }
    }
}

fn hello<T: Serialize>(ends: T) {
    let server = std::env::var(SERVER).expect("the role comes with a server");
    let server = IpcSender::<T>::connect(server).expect("the host listens");
    server.send(ends).expect("the host listens");
}

fn start<T: Serialize + for<'de> Deserialize<'de>>(role: &str) -> (Child, T) {
    let (server, name) = IpcOneShotServer::<T>::new().expect("a server can be made");
    let child = bare::role(role).env(SERVER, name).spawn().expect("this program can be started");
    let (_, ends) = server.accept().expect("it connects");
    (child, ends)
}

/// A process that sends back values.
pub(crate) struct TypedEcho<T> {
    child: Child,
    ends: Typed<T>,
}

impl<T: Serialize + for<'de> Deserialize<'de>> TypedEcho<T> {
    pub(crate) fn start(role: &str) -> Self {
        let (child, ends) = start(role);
        TypedEcho { child, ends }
    }

    pub(crate) fn round_trip(&self, value: T) -> T {
        self.ends.0.send(value).expect("the echo reads");
        self.ends.1.recv().expect("the echo answers")
    }
}

impl<T> Drop for TypedEcho<T> {
    fn drop(&mut self) {
        bare::end(std::slice::from_mut(&mut self.child));
    }
}

/// A process that sends back bytes.
pub(crate) struct BytesEcho {
    child: Child,
    ends: Bytes,
}

impl BytesEcho {
    pub(crate) fn start() -> Self {
        let (child, ends) = start("ipc bytes");
        BytesEcho { child, ends }
    }

    pub(crate) fn round_trip(&self, bytes: &[u8]) -> Vec<u8> {
        self.ends.0.send(bytes).expect("the echo reads");
        self.ends.1.recv().expect("the echo answers")
    }
}

impl Drop for BytesEcho {
    fn drop(&mut self) {
        bare::end(std::slice::from_mut(&mut self.child));
    }
}
