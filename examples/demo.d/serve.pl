#!/usr/bin/perl
# A backend of the demo: answers every HTTP request with its own name and the address it saw.
#
#   serve.pl NAME PORT
use strict;
use warnings;
use IO::Socket::IP;

my ($name, $port) = @ARGV;
$SIG{CHLD} = 'IGNORE';
my $listener = IO::Socket::IP->new(
    LocalHost => '::', LocalPort => $port, V6Only => 0, ReuseAddr => 1, Listen => 64,
) or die "cannot listen on port $port: $@\n";

while (1) {
    my $peer = $listener->accept or next;
    next if fork;
    alarm 5;    # a connection that says nothing ends by itself
    my $path;
    while (defined(my $line = <$peer>)) {
        $path //= (split ' ', $line)[1];
        last if $line =~ /^\r?$/;
    }
    exit unless defined $path;
    my $source = $peer->peerhost =~ s/^::ffff://r;
    my $body = $path eq '/healthz' ? "ok\n" : "$name saw $source\n";
    print $peer "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n",
        'Content-Length: ', length $body, "\r\n\r\n", $body;
    exit;
}
