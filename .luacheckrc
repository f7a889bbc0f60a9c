-- The library as it is loaded: every Lua file in one, in the Lua 5.1 sandbox of Redis.
stds.redis = { read_globals = { "redis", "cjson", "cmsgpack", "struct", "bit" } }
std = "lua51+redis"
not_globals = { "arg", "debug", "dofile", "io", "loadfile", "module", "package", "print", "require" }
max_line_length = 140
