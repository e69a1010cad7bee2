//! The pages behind large buffers: huge ones are asked for, and they are given back in pieces.

/// From so many bytes on a buffer is worth huge pages: where nothing is said, a large payload spends
/// more time on page faults than on being copied.
const WORTH_ADVICE: usize = 4 << 20;
/// As long as the longest page of any system, hence whole pages everywhere.
const PAGE: usize = 64 * 1024;
/// A huge page, on most systems that have them.
const HUGE: usize = 2 << 20;

/// Asks for huge pages behind the spare capacity of a large buffer.
#[cfg(target_os = "linux")]
pub(super) fn want_huge(buffer: &mut Vec<u8>) {
    let spare = buffer.spare_capacity_mut();
    if spare.len() < WORTH_ADVICE {
        return;
    }
    let skipped = spare.as_ptr().align_offset(PAGE).min(spare.len());
    let pages = &mut spare[skipped..];
    let len = pages.len() / PAGE * PAGE;
    // SAFETY: these are whole pages of memory that is the buffer's own; advice changes none of it.
    // A kernel that has no huge pages says so, and that is all.
    let _ = unsafe {
        rustix::mm::madvise(pages.as_mut_ptr().cast(), len, rustix::mm::Advice::LinuxHugepage)
    };
}

#[cfg(not(target_os = "linux"))]
pub(super) fn want_huge(_: &mut Vec<u8>) {}

/// Gives back the memory behind the first huge page of the spare capacity, from byte `skipped` of it
/// on. Returns how many bytes to skip the next time; `None` at the end.
#[cfg(target_os = "linux")]
pub(crate) fn give_back(buffer: &mut Vec<u8>, skipped: usize) -> Option<usize> {
    let spare = buffer.spare_capacity_mut().get_mut(skipped..)?;
    let before = spare.as_ptr().align_offset(HUGE);
    let page = spare.get_mut(before..before.checked_add(HUGE)?)?;
    // SAFETY: the page is the buffer's own, and nothing that lies in spare capacity is anybody's: it
    // may have become zero when it is used again.
    let _ = unsafe {
        rustix::mm::madvise(page.as_mut_ptr().cast(), HUGE, rustix::mm::Advice::LinuxDontNeed)
    };
    Some(skipped + before + HUGE)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn give_back(_: &mut Vec<u8>, _: usize) -> Option<usize> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_spare_and_can_be_used_again() {
        let mut buffer = vec![1_u8; 9 << 20];
        buffer.truncate(1 << 20);
        let mut skipped = 0;
        let mut pieces = 0;
        while let Some(next) = give_back(&mut buffer, skipped) {
            (skipped, pieces) = (next, pieces + 1);
        }
        assert!((3..=4).contains(&pieces), "{pieces}");
        assert!(buffer.iter().all(|byte| *byte == 1));
        buffer.resize(9 << 20, 2);
        assert!(buffer[1 << 20..].iter().all(|byte| *byte == 2));
        assert_eq!(give_back(&mut Vec::new(), 0), None);
    }
}
