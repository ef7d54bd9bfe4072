"""Git: trees of pinned commits, fetched by the `git` command and read object by object, each checked."""
