-- a user ('' for nobody), entries that are for nobody while the user is online
if ARGV[1] ~= '' and online(ARGV[1]) then return 0 end
append(ARGV, 2)
return 1
