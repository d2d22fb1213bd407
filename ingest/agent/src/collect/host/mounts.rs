//! `mountinfo`: what is mounted where.

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) major: String,
    pub(super) minor: String,
    pub(super) mount_point: String,
    pub(super) fs_type: String,
    pub(super) device: String,
    pub(super) read_only: bool,
}

/// Reads the lines of a `mountinfo`; malformed ones are left out.
///
/// Source: Linux, proc_pid_mountinfo(5).
pub(super) fn parse(text: &str) -> impl Iterator<Item = Mount> {
    text.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let [_, _, numbers, _, mount_point, options, ..] = left.as_slice() else { return None };
        let mut right = right.split(' ');
        let (fs_type, device, super_options) =
            (right.next()?, right.next()?, right.next().unwrap_or_default());
        let (major, minor) = numbers.split_once(':')?;
        let read_only = |options: &str| options.split(',').any(|option| option == "ro");
        Some(Mount {
            major: major.to_owned(),
            minor: minor.to_owned(),
            mount_point: unescape(mount_point),
            fs_type: fs_type.to_owned(),
            device: unescape(device),
            read_only: read_only(options) || read_only(super_options),
        })
    })
}

/// Turns `\040` into a blank, and so on.
fn unescape(word: &str) -> String {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|digits| first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        match octal {
            Some(digits) => {
                let value = digits.iter().fold(0_u32, |value, digit| value * 8 + u32::from(digit - b'0'));
                bytes.push(u8::try_from(value & 0xff).unwrap_or_default());
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
