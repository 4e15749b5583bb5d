//! Manifests and lock files.

/// Dependencies without a comment above or behind them. Our own crates, and what a member takes over from the
/// workspace, have said it elsewhere.
pub fn without_reason(file: &str, text: &str) -> Vec<String> {
    let (mut complaints, mut before) = (Vec::new(), "");
    let mut table = Table::Other;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        let reason = before.starts_with('#') || line.contains(" #");
        let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
        let complaint = || format!("{file}:{}: no reason beside {line}", number + 1);
        if let Some(header) = line.strip_prefix('[') {
            table = Table::of(header);
            if table == Table::OneDependency && !reason {
                complaints.push(complaint());
            }
        } else if table == Table::Dependencies
            && !line.is_empty()
            && !line.starts_with('#')
            && !is_elsewhere(name, line)
            && !reason
        {
            complaints.push(complaint());
        }
        before = line;
    }
    complaints
}

#[derive(PartialEq)]
enum Table {
    /// Each line is one.
    Dependencies,
    /// `[dependencies.name]`.
    OneDependency,
    Other,
}

impl Table {
    fn of(header: &str) -> Table {
        let header = header.trim_end_matches(']');
        let (before, last) = header.rsplit_once('.').unwrap_or(("", header));
        match (last.ends_with("dependencies"), before.ends_with("dependencies")) {
            (true, _) => Table::Dependencies,
            (false, true) => Table::OneDependency,
            (false, false) => Table::Other,
        }
    }
}

fn is_elsewhere(name: &str, line: &str) -> bool {
    line.contains("workspace = true") || name.starts_with("tickyard")
}

/// Addresses in lock files and requirements, but the one that Cargo writes everywhere.
pub fn addresses(file: &str, text: &str) -> Vec<String> {
    const STANDARD: &str = "\"registry+https://github.com/rust-lang/crates.io-index\"";
    let is_npm = file.ends_with("package-lock.json");
    let mut complaints = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let rest = line.replace(STANDARD, "");
        // npm also notes home pages and where to donate.
        let counts = !is_npm || rest.trim_start().starts_with("\"resolved\"");
        if counts && (rest.contains("://") || rest.contains("git@")) {
            complaints.push(format!("{file}:{}: an address: {}", number + 1, line.trim()));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_without_a_reason_is_found_in_each_table() {
        for text in [
            "[dependencies]\nmio = \"1\"",
            "[dependencies]\n# The loop.\nmio = \"1\"\nslab = \"1\"",
            "[dev-dependencies]\n# The loop.\n\nmio = \"1\"",
            "[workspace.dependencies]\nmio = { version = \"1\" }",
            "[target.'cfg(unix)'.dependencies]\nmio = \"1\"",
            "[dependencies.mio]\nversion = \"1\"",
            "[build-dependencies]\nmio.version = \"1\"",
        ] {
            assert_eq!(without_reason("Cargo.toml", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn a_reason_above_or_behind_is_enough() {
        for text in [
            "[dependencies]\n# The loop.\nmio = \"1\"",
            "[dependencies]\nmio = \"1\" # The loop.",
            "[dependencies]\nmio.workspace = true\ntickyard-protocol = { path = \"protocol\" }",
            "[package]\nname = \"a\"\n[features]\nb = []",
            "# The loop.\n[dependencies.mio]\nversion = \"1\"",
        ] {
            assert_eq!(without_reason("Cargo.toml", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn an_address_in_a_lock_file_is_found() {
        for (file, text) in [
            ("Cargo.lock", "source = \"registry+https://crates.example/index\""),
            ("Cargo.lock", "source = \"git+https://code.example/a\""),
            ("a/package-lock.json", "  \"resolved\": \"https://packages.example/ws.tgz\","),
            ("a/requirements.txt", "--find-links https://packages.example/simple"),
        ] {
            assert_eq!(addresses(file, text).len(), 1, "{text}");
        }
        for (file, text) in [
            ("Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\""),
            ("package-lock.json", "  \"url\": \"https://give.example\""),
            ("requirements.txt", "websockets==1.0"),
        ] {
            assert_eq!(addresses(file, text), [""; 0], "{text}");
        }
    }
}
