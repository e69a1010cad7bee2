//! How much memory a process has resident, and which one is to go where there is none left.

use std::sync::OnceLock;

use rustix::process::Pid;

/// Where the system says it, kept open between two looks.
///
/// `look` is to be called only while the number is known to belong to the process (`owned` is
/// asked for that); what is open already stays with the process whatever becomes of its number.
#[derive(Debug, Default)]
pub(super) struct Gauge(OnceLock<Source>);

#[cfg(target_os = "linux")]
type Source = std::fs::File;
#[cfg(not(target_os = "linux"))]
type Source = std::convert::Infallible;

/// By how much a worker's score is above its host's: three tenths of the memory there is.
#[cfg(target_os = "linux")]
const OOM_OFFER: i32 = 300;
#[cfg(target_os = "linux")]
const OOM_HIGHEST: i32 = 1000;

/// Where memory runs out the kernel ends the process with the highest score (proc(5),
/// `oom_score_adj`): a worker rather than its host, whose score it has inherited. Raising that of
/// one's own child needs no right. `owned` is asked whether the number is still the process's.
pub(super) fn offer_to_the_kernel(pid: Pid, owned: impl FnOnce() -> bool) {
    #[cfg(target_os = "linux")]
    {
        use std::io::{Read as _, Write as _};

        let path = format!("/proc/{}/oom_score_adj", pid.as_raw_pid());
        let score = std::fs::File::options().read(true).write(true).open(path);
        // Asked after opening: so it cannot be the file of a later process of that number.
        let Some(mut score) = score.ok().filter(|_| owned()) else { return };
        let mut text = [0; 16];
        let read = score.read(&mut text).unwrap_or(0);
        let inherited = std::str::from_utf8(&text[..read]).ok();
        let inherited: i32 = inherited.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        let offer = (inherited + OOM_OFFER).min(OOM_HIGHEST);
        let _ = score.write_all(offer.to_string().as_bytes());
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (pid, owned);
}

impl Gauge {
    /// Bytes that are resident now; `None` for a process that has ended, and where the system
    /// does not say.
    pub(super) fn look(&self, pid: Pid, owned: impl FnOnce() -> bool) -> Option<u64> {
        resident(&self.0, pid, owned).filter(|&bytes| bytes > 0)
    }
}

/// The second number of `statm`, in pages. A file of `/proc` that is open belongs to the process
/// that it was opened for, not to its number: of one that was reaped nothing can be read any more,
/// and a zombie has no memory.
#[cfg(target_os = "linux")]
fn resident(kept: &OnceLock<Source>, pid: Pid, owned: impl FnOnce() -> bool) -> Option<u64> {
    use std::os::unix::fs::FileExt;

    let file = match kept.get() {
        Some(file) => file,
        None => {
            let file = std::fs::File::open(format!("/proc/{}/statm", pid.as_raw_pid())).ok()?;
            // Asked after opening: so it cannot be the file of a later process of that number.
            if !owned() {
                return None;
            }
            kept.get_or_init(|| file)
        }
    };
    let mut text = [0; 128];
    let len = file.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(text.get(..len)?).ok()?;
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(page_size()?)
}

#[cfg(target_vendor = "apple")]
fn resident(_: &OnceLock<Source>, pid: Pid, owned: impl FnOnce() -> bool) -> Option<u64> {
    let mut info = std::mem::MaybeUninit::<libc::proc_taskinfo>::zeroed();
    let size = libc::c_int::try_from(size_of::<libc::proc_taskinfo>()).ok()?;
    // SAFETY: the kernel writes at most `size` bytes into `info`, which has that many.
    let filled = unsafe {
        let into = info.as_mut_ptr().cast();
        libc::proc_pidinfo(pid.as_raw_pid(), libc::PROC_PIDTASKINFO, 0, into, size)
    };
    if filled != size || !owned() {
        return None;
    }
    // SAFETY: it holds plain numbers, for which zero bytes are as good as any.
    Some(unsafe { info.assume_init() }.pti_resident_size)
}

#[cfg(target_os = "freebsd")]
fn resident(_: &OnceLock<Source>, pid: Pid, owned: impl FnOnce() -> bool) -> Option<u64> {
    let question = [libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_PID, pid.as_raw_pid()];
    let mut info = std::mem::MaybeUninit::<libc::kinfo_proc>::zeroed();
    let mut size = size_of::<libc::kinfo_proc>();
    // SAFETY: the question has as many numbers as said and is only read; the kernel writes at most
    // `size` bytes into `info`, which has that many.
    let result = unsafe {
        let into = info.as_mut_ptr().cast();
        let len = libc::c_uint::try_from(question.len()).ok()?;
        libc::sysctl(question.as_ptr(), len, into, &mut size, std::ptr::null(), 0)
    };
    if result != 0 || size != size_of::<libc::kinfo_proc>() || !owned() {
        return None;
    }
    // SAFETY: it holds plain numbers and pointers that nobody follows, for which zero bytes are as
    // good as any.
    let info = unsafe { info.assume_init() };
    u64::try_from(info.ki_rssize).ok()?.checked_mul(page_size()?)
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd", target_vendor = "apple")))]
fn resident(_: &OnceLock<Source>, _: Pid, _: impl FnOnce() -> bool) -> Option<u64> {
    None
}

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn page_size() -> Option<u64> {
    // SAFETY: a question of the system about itself, without any pointer.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    const TELLS: bool =
        cfg!(any(target_os = "linux", target_os = "freebsd", target_vendor = "apple"));

    fn pid_of(id: u32) -> Pid {
        i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process has a number")
    }

    #[test]
    fn this_process_has_memory() {
        if !TELLS {
            return;
        }
        let gauge = Gauge::default();
        let own = pid_of(std::process::id());
        let before = gauge.look(own, || true).unwrap();
        assert!((100 << 10..1 << 40).contains(&before), "{before}");
        let mut more = vec![0_u8; 64 << 20];
        for page in more.chunks_mut(1024) {
            page[0] = 1;
        }
        let after = gauge.look(own, || true).unwrap();
        assert!(after > before + (32 << 20), "{before} {after}");
        drop(std::hint::black_box(more));
    }

    #[test]
    fn a_process_that_has_ended_has_none() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("there is a cat");
        let pid = pid_of(child.id());
        let gauge = Gauge::default();
        assert!(gauge.look(pid, || false).is_none(), "somebody else's");
        assert_eq!(gauge.look(pid, || true).is_some(), TELLS);
        drop(child.stdin.take());
        let exited = rustix::process::WaitIdOptions::EXITED;
        let options = exited | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).unwrap();
        assert_eq!(gauge.look(pid, || true), None, "a zombie");
        assert_eq!(Gauge::default().look(pid, || true), None, "a zombie that was not looked at");
        child.wait().unwrap();
        assert_eq!(gauge.look(pid, || true), None, "reaped");
        assert_eq!(Gauge::default().look(pid, || true), None, "reaped and not looked at");
    }
}
