//! Sizes, and the links between pages.

use super::rust;

/// Past this a file tells two stories.
const LINES_MAX: usize = 600;
/// Longer ones, each for its reason.
const LONGER: &[(&str, usize)] = &[
    // One replica: its blocks in the order of PROTOCOL.md, which would be harder to follow in two files.
    ("clients/typescript/src/world.ts", 700),
];
/// Where tests are that a page may name.
const OURS: [&str; 4] = ["src/", "tests/", "loadtest/", "protocol/"];
/// What a reader takes in before the first try.
const README_LINES_MAX: usize = 150;

/// Files that are too long, their tests not counted.
pub fn too_long(file: &str, text: &str) -> Vec<String> {
    let lines = match file.ends_with(".rs") {
        true => {
            let code = rust::code(text);
            let tests = |text: &str| text.lines().filter(|line| !line.trim().is_empty()).count();
            text.lines().count() - (tests(&code) - tests(&rust::without_tests(&code)))
        }
        false => text.lines().count(),
    };
    let most = LONGER.iter().find(|(longer, _)| *longer == file).map_or(LINES_MAX, |(_, most)| *most);
    let complaint = || format!("{file}: {lines} lines; what is the second idea in it? (at most {most})");
    (lines > most).then(complaint).into_iter().collect()
}

/// The front page, if it is longer than one.
pub fn long_readme(file: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let complaint = || format!("{file}: {lines} lines (less than {README_LINES_MAX})");
    (file == "README.md" && lines >= README_LINES_MAX).then(complaint).into_iter().collect()
}

/// Links to files that are not there. `pages` and `files` are named as seen from the root.
pub fn dead_links(pages: &[(String, String)], files: &[String]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (page, text) in pages {
        for (line, target) in links(text) {
            let goal = join(page, &target);
            let folder = format!("{}/", goal.trim_end_matches('/'));
            let there =
                goal.is_empty() || files.iter().any(|file| *file == goal || file.starts_with(&folder));
            if !there {
                complaints.push(format!("{page}:{line}: leads to {target}, which is not there"));
            }
        }
    }
    complaints
}

/// Tests that a page names, as `start/of/its/file::name` or `tests/long NAME`, and that are not there. `sources` are the
/// files with their text.
pub fn missing_tests(page: &str, text: &str, sources: &[(String, String)]) -> Vec<String> {
    let is_there = |start: &str, what: &str| {
        sources.iter().any(|(file, text)| file.starts_with(start) && text.contains(what))
    };
    let is_known = |code: &str| match (code.split_once("::"), code.strip_prefix("tests/long ")) {
        (Some((path, name)), _) if OURS.iter().any(|top| path.starts_with(top)) => {
            is_there(path, &format!("fn {name}("))
        }
        (_, Some(proof)) => is_there("tests/long", &format!("    \"{proof}\": ")),
        _ => true,
    };
    let named = text.split('`').skip(1).step_by(2);
    named.filter(|code| !is_known(code)).map(|code| format!("{page}: there is no {code}")).collect()
}

/// Pages in `docs` that no other page leads to.
pub fn unlinked(pages: &[(String, String)]) -> Vec<String> {
    let leads_to = |goal: &str| {
        let from_others = pages.iter().filter(|(page, _)| page != goal);
        from_others
            .flat_map(|(page, text)| links(text).into_iter().map(|link| join(page, &link.1)))
            .any(|target| target == goal)
    };
    // Without a front page there is no way in yet.
    let has_front = pages.iter().any(|(page, _)| page == "README.md");
    let docs =
        pages.iter().filter(|_| has_front).map(|(page, _)| page).filter(|page| page.starts_with("docs/"));
    docs.filter(|page| !leads_to(page)).map(|page| format!("{page}: no page leads to it")).collect()
}

/// The links to files in a page, with their lines, without anchors. What stands in code is none.
fn links(text: &str) -> Vec<(usize, String)> {
    let (mut links, mut fenced) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        if fenced {
            continue;
        }
        // Between backquotes stands code: every second piece.
        let prose: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for part in prose.split("](").skip(1) {
            let target = part.split([')', ' ']).next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") && !file.starts_with("mailto:") {
                links.push((number + 1, file.to_owned()));
            }
        }
    }
    links
}

/// Where a link on `page` leads, as seen from the root.
fn join(page: &str, target: &str) -> String {
    let mut parts: Vec<&str> = match target.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => page.split('/').collect(),
    };
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(page, text)| ((*page).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_file_is_too_long_without_its_tests_only() {
        let line = "fn f() {}\n";
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", line.repeat(400));

        assert_eq!(too_long("a.rs", &(line.repeat(600) + &tests)), [""; 0]);
        assert_eq!(too_long("a.rs", &(line.repeat(601) + &tests)).len(), 1);
        assert_eq!(too_long("a.ts", &line.repeat(601)).len(), 1);
    }

    #[test]
    fn the_front_page_has_less_than_150_lines() {
        assert_eq!(long_readme("README.md", &"a\n".repeat(150)).len(), 1);
        assert_eq!(long_readme("README.md", &"a\n".repeat(149)), [""; 0]);
        assert_eq!(long_readme("clients/typescript/README.md", &"a\n".repeat(150)), [""; 0]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let files = ["README.md", "docs/tick.md", "clients/demo/index.html"].map(str::to_owned);
        let good = [
            ("README.md", "[a](docs/tick.md#drain) [b](clients/demo) [c](https://a.example/x.md) [d](#here)"),
            ("docs/tick.md", "[up](../README.md) [root](/README.md) `[code](nowhere.md)`"),
            ("docs/tick.md", "```\n[code](nowhere.md)\n```"),
        ];
        assert_eq!(dead_links(&pages(&good), &files), [""; 0]);

        for (page, text) in [("README.md", "see [a](docs/tock.md)"), ("docs/tick.md", "[a](README.md)")] {
            assert_eq!(dead_links(&pages(&[(page, text)]), &files).len(), 1, "{text}");
        }
    }

    #[test]
    fn a_page_that_nobody_leads_to_is_found() {
        let linked = [("README.md", "[a](docs/a.md)"), ("docs/a.md", "[b](b.md)"), ("docs/b.md", "")];
        assert_eq!(unlinked(&pages(&linked)), [""; 0]);

        let alone = [("README.md", "see docs/a.md"), ("docs/a.md", "[myself](a.md)")];
        assert_eq!(unlinked(&pages(&alone)).len(), 1);
    }
}
