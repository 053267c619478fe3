//! Reads clients' files. A project may hold anything under their names: a pipe that nobody writes to, a device, gigabytes.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::regular;

/// No client's configuration is longer (bytes).
const LONGEST: u64 = 4 << 20;

/// The text of a regular file that is not too long.
pub fn read(path: &Path) -> io::Result<String> {
    let Some(file) = regular::open(path)? else {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    };
    let mut text = String::new();
    if file.take(LONGEST + 1).read_to_string(&mut text)? as u64 > LONGEST {
        let error = format!("it is longer than {} MiB", LONGEST >> 20);
        return Err(io::Error::new(ErrorKind::FileTooLarge, error));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn only_regular_files_of_a_few_mebibytes_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert_eq!(read(&path).unwrap_err().kind(), ErrorKind::NotFound);
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(read(&path).unwrap(), "{}");
        File::options().write(true).open(&path).unwrap().set_len(LONGEST).unwrap();
        assert_eq!(read(&path).unwrap().len() as u64, LONGEST);
        File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), "it is longer than 4 MiB");
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for other in [pipe.as_path(), folder.path(), Path::new("/dev/zero")] {
            assert_eq!(
                read(other).unwrap_err().to_string(),
                "it is not a regular file",
                "{}",
                other.display()
            );
        }
    }
}
