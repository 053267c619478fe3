//! The filter of signals, as the kernel would read it for each calling convention.

use super::filter::decide_all;
use crate::filter::{ALLOW, REFUSE};
use crate::signals::{AARCH64, ARM, Calls, I386, X86_64, program};

const X32: u32 = 0x4000_0000;

#[test]
fn no_signal_reaches_pid_1_and_all_others_pass() {
    let ways = [(&X86_64, &I386), (&AARCH64, &ARM)];
    for (native, compatible) in ways {
        let filter = program(native, compatible);
        for calls in [native, compatible] {
            let Calls { audit, kill, tkill, tgkill } = *calls;
            let decide = |number, arguments| decide_all(&filter, audit, number, arguments);
            for number in [kill, tkill] {
                for signal in [1, 9, 10, 12, 15, 34, 64] {
                    assert_eq!(
                        decide(number, [1, signal, 0]),
                        REFUSE,
                        "{audit:#x} call {number} of {signal}"
                    );
                    // The kernel takes the lower half of a register.
                    assert_eq!(decide(number, [0xffff_ffff_0000_0001, signal, 0]), REFUSE);
                    for other in [0, 2, 257, u64::from(u32::MAX), u64::MAX - 1] {
                        assert_eq!(decide(number, [other, signal, 0]), ALLOW, "{audit:#x} to {other:#x}");
                    }
                }
                assert_eq!(decide(number, [1, 0, 9]), ALLOW, "whether it is there may be asked");
            }
            for (arguments, verdict) in
                [([1, 1, 9], REFUSE), ([1, 5, 10], REFUSE), ([1, 1, 0], ALLOW), ([2, 1, 9], ALLOW)]
            {
                assert_eq!(decide(tgkill, arguments), verdict, "{audit:#x} {arguments:?}");
            }
            for number in (0..1024).filter(|number| ![kill, tkill, tgkill].contains(number)) {
                assert_eq!(decide(number, [1, 9, 9]), ALLOW, "{audit:#x} call {number}");
            }
        }
    }
    let filter = program(&X86_64, &I386);
    assert_eq!(decide_all(&filter, X86_64.audit, X86_64.kill | X32, [1, 10, 0]), REFUSE, "x32");
    assert_eq!(decide_all(&filter, AARCH64.audit, 0, [0; 3]), REFUSE, "a way that this machine has not");
}
