# Poll the port in $1 while another process keeps its first life open, as a leaked descriptor would: the adapter then
# comes back as ttyUSB1 and only its by-path name still finds it.
until [ -e "$1" ]; do usleep 20000; done
sleep 60 < "$1" &
exec ./guest poll "$1"
