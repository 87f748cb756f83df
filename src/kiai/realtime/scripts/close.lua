return close(ARGV[1])
