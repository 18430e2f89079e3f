# Runs one of PostgreSQL's own tests of pg_dump against pgstow, and prints what it does not meet.
#
#   perl stand_in.pl TEST.pl LIST
#
# TEST.pl is a file of PostgreSQL's source package (src/bin/pg_dump/t). The environment says the rest: PGSTOW and PSQL (programs),
# PGHOST, PGPORT, PGUSER (a fresh server), STAND_IN_TMP (an empty folder), STAND_IN_RUNS (a pattern of the runs to make, all if
# not set). Calls of pg_dump, pg_restore and pg_dumpall become `pgstow dump` into a folder and `pgstow export`. Lines of
# LIST that no failed check needs any more are named too, so that the list stays short. Exit code 1 if a check failed that LIST lacks.
use strict;
use warnings;
no warnings "once";

my ($test, $list) = @ARGV;
my $tmp = $ENV{STAND_IN_TMP} or die "STAND_IN_TMP names no folder\n";
my $runs = $ENV{STAND_IN_RUNS} // '';
my (%lacks, @checks);

# What pgstow has under the same name for dump; a number says how many values follow.
my %dump = (
	map({ $_ => 0 } qw(-s --schema-only -a --data-only -O --no-owner -x --no-privileges --no-acl --no-comments --no-policies
		--no-publications --no-security-labels --no-subscriptions --no-tablespaces --no-table-access-method -b --large-objects
		-B --no-large-objects --no-toast-compression --no-unlogged-table-data --strict-names --no-schema --no-data
		--statistics --statistics-only --no-statistics)),
	map({ $_ => 1 } qw(-n --schema -N --exclude-schema -t --table -T --exclude-table --table-and-children
		--exclude-table-and-children --exclude-table-data --exclude-table-data-and-children --include-foreign-data
		-e --extension --exclude-extension --filter --section -j --jobs --lock-timeout)));
# What is said where the script is written.
my %export = map({ $_ => 0 } qw(-c --clean -C --create --if-exists));
# What changes nothing that a script shows.
my %nothing = (map({ $_ => 0 } qw(--no-sync --no-password -w --verbose -v -R --no-reconnect)),
	map({ $_ => 1 } qw(-p --port -S --superuser)));

# Options and their values as (name, value) pairs, `--name=value`, `-nvalue` and `-n value` being one.
sub pairs {
	my ($takes, @words) = @_;
	my @pairs;
	while (@words) {
		my $word = shift @words;
		if ($word =~ /^(--[a-z-]+)=(.*)$/s) { push @pairs, [ $1, $2 ] }
		elsif ($word =~ /^-/) {
			my ($short, $rest) = $word =~ /^(-[a-zA-Z])(.+)$/;
			if ($word !~ /^--/ and defined $short) { push @pairs, [ $short, $rest ] }
			elsif ($takes->{$word}) { push @pairs, [ $word, shift @words ] }
			else { push @pairs, [$word] }
		}
		else { push @pairs, [ '', $word ] }
	}
	return @pairs;
}

sub slurp { my $f = shift; open my $in, '<:raw', $f or return ''; local $/; return scalar <$in> }

# One call of pgstow: exit code, standard output and standard error.
sub pgstow {
	my @words = @_;
	my $child = fork // die;
	if (!$child) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$tmp/out";
		open STDERR, '>', "$tmp/err";
		exec $ENV{PGSTOW}, @words or exit 127;
	}
	waitpid $child, 0;
	return ($? >> 8 || $? & 127, slurp("$tmp/out"), slurp("$tmp/err"));
}

my $stores = 0;

# One call of a stock program, as pgstow does it.
sub call {
	my ($program, @words) = @_;
	return (99, '', 'no stand-in for this program') unless $program =~ /^(pg_dump|pg_restore|pg_dumpall)$/;
	my %values = (map({ $_ => 1 } qw(--format -F --file -f --dbname -d --compress -Z -I --index -P --function --trigger -L
		--use-list --exclude-database --role -S --superuser --encoding -E --snapshot --extra-float-digits --rows-per-insert
		--lock-wait-timeout)),
		%dump, map({ $_ => 1 } grep { $nothing{$_} } keys %nothing));
	my ($format, $file, $archive, @dump, @export, @database) = ('plain');
	my %both = map { $_ => 1 } qw(-I --index -P --function --trigger -L --use-list);
	for my $pair (pairs(\%values, @words)) {
		my ($name, @value) = @$pair;
		if ($name =~ /^(-F|--format)$/) { $format = $value[0] }
		elsif ($name =~ /^(-f|--file)$/) { $file = $value[0] }
		elsif ($name eq '') { $archive = $value[0]; @database = ('-d', $value[0]) }
		elsif ($name =~ /^(-d|--dbname)$/) { @database = ('-d', $value[0]) }
		elsif (exists $nothing{$name}) { next }
		elsif ($name =~ /^(-Z|--compress)$/ and $program eq 'pg_dump') {
			my $method = $value[0] =~ /^[1-9]$/ ? "gzip:$value[0]" : $value[0] eq '0' ? 'none' : $value[0];
			$method =~ s/:long$//;
			push @dump, '-Z', $method;
		}
		elsif ($name eq '--exclude-database' and $program eq 'pg_dumpall') { push @dump, $name, @value }
		elsif ($name =~ /^(-g|--globals-only)$/ and $program eq 'pg_dumpall') { $format = 'globals' }
		elsif ($name eq '--lock-wait-timeout') { push @dump, '--lock-timeout', $value[0] =~ /^\d+$/ ? "$value[0]ms" : $value[0] }
		elsif ($name =~ /^(-E|--encoding)$/ and $value[0] =~ /^(utf-?8|sql_ascii)$/i) { next }
		elsif (exists $export{$name}) { push @export, $name }
		elsif (exists $dump{$name} or ($program eq 'pg_restore' and $both{$name})) {
			push @{ $program eq 'pg_restore' ? \@export : \@dump }, $name eq '--no-acl' ? '-x' : $name, @value;
		}
		else { return (98, '', "pgstow has no option for $name") }
	}
	@database = ('-d', 'postgres') unless @database;
	if ($program eq 'pg_restore') {
		return (98, '', 'no archive') unless defined $archive;
		return pgstow('export', 'latest', '--from', "file://$archive.store", @export, '-f', $file // '-');
	}
	my $store = defined $file ? "$file.store" : "$tmp/store" . ++$stores;
	if ($program eq 'pg_dumpall') {
		@dump = $format eq 'globals' ? ('-s') : (@dump, '--all');
		my @failed = pgstow('dump', '--to', "file://$store", @dump, '-d', 'postgres');
		return @failed if $failed[0];
		my @backups = sort glob("$store/*/*/globals.sql");
		my $text = slurp($backups[0]);
		for my $backup ($format eq 'globals' ? () : @backups) {
			my ($name) = $backup =~ m{^\Q$store\E/([^/]+)/};
			my @one = pgstow('export', "$name/latest", '--from', "file://$store", '-C', '-f', '-');
			return @one if $one[0];
			$text .= $one[1];
		}
		if (defined $file) { open my $out, '>:raw', $file or die; print $out $text; return (0, '', '') }
		return (0, $text, '');
	}
	my @result = pgstow('dump', '--to', "file://$store", @dump, @database);
	return @result if $result[0];
	my $archived = $format =~ /^[cdt]/;
	return (0, '', '') if $archived and $format !~ /^d/;
	my @as = $archived ? ('-F', 'd') : ();
	return pgstow('export', 'latest', '--from', "file://$store", @as, @export, '-f', $file // '-');
}

# The modules that the test uses, as far as it uses them.
package Stand::In {
	our ($run, $failed) = ('', '');
	sub ok ($;$) { my ($good, $name) = @_; push @checks, [ !!$good, $name ]; return !!$good }
	sub is ($$;$) { ok(($_[0] // '') eq ($_[1] // ''), $_[2]) }
	sub like ($$;$) { ok($_[0] =~ $_[1], $_[2]) }
	sub unlike ($$;$) { ok($_[0] !~ $_[1], $_[2]) }
	sub quiet { return 1 }
	sub command_ok {
		my ($words, $name) = @_;
		my ($code, $out, $err) = main::call(@$words);
		warn "$name: $err" if $code;
		return ok($code == 0, $name);
	}
	sub command_like {
		my ($words, $regexp, $name) = @_;
		my ($code, $out) = main::call(@$words);
		return ok($code == 0 && $out =~ $regexp, $name);
	}
	sub command_fails_like {
		my ($words, $regexp, $name) = @_;
		my ($code, undef, $err) = main::call(@$words);
		ok($code != 0 && $code < 98, "$name: fails");
		return ok($err =~ $regexp, "$name: in the same words");
	}
	sub psql {
		my ($self, $database, $sql, %more) = @_;
		open my $in, '>:raw', "$tmp/in.sql" or die;
		print $in $sql;
		close $in;
		system("'$ENV{PSQL}' -XAtq -v ON_ERROR_STOP=" . ($more{strict} // 0) . " -d '$database' -f '$tmp/in.sql' >'$tmp/out' 2>'$tmp/err'");
		my $code = $? >> 8;
		${ $more{stderr} } = main::slurp("$tmp/err") if $more{stderr};
		die "psql: " . main::slurp("$tmp/err") if $code and $more{strict};
		my $out = main::slurp("$tmp/out");
		chomp $out;
		return $out;
	}
	sub names { return qw(ok is like unlike note diag done_testing plan command_ok command_like command_fails_like) }
}
for my $name (qw(command_ok command_like command_fails_like)) {
	no strict 'refs';
	my $plain = \&{"Stand::In::$name"};
	*{"PostgreSQL::Test::Cluster::$name"} = sub { shift; $plain->(@_) };
}
{
	no strict 'refs';
	*{"PostgreSQL::Test::Cluster::$_"} = \&Stand::In::quiet for qw(init start stop append_conf reload restart);
	*PostgreSQL::Test::Cluster::new = sub { bless {}, shift };
	*PostgreSQL::Test::Cluster::port = sub { $ENV{PGPORT} };
	*PostgreSQL::Test::Cluster::psql = \&Stand::In::psql;
	*PostgreSQL::Test::Cluster::safe_psql = sub { Stand::In::psql(@_, strict => 1) };
	*PostgreSQL::Test::Utils::tempdir = sub { $tmp };
	*{"main::$_"} = Stand::In->can($_) || \&Stand::In::quiet for Stand::In::names();
	*main::slurp_file = \&slurp;
	*main::check_pg_config = sub { $_[0] !~ /LZ4/ }; # not every server of the tests is built with it
}
$INC{$_} = 1 for qw(PostgreSQL/Test/Cluster.pm PostgreSQL/Test/Utils.pm Test/More.pm);
$PostgreSQL::Test::Utils::timeout_default = 180;
$ENV{with_icu} //= 'yes';
$ENV{$_} //= '' for qw(GZIP_PROGRAM LZ4 ZSTD);

my $text = slurp($test) or die "cannot read $test\n";
$text =~ s/(foreach my \$run \(sort keys %pgdump_runs\)\s*\{)/$1 next unless \$run =~ m{(?:$runs)};/;
eval "$text; 1" or die $@;

# The list: a pattern of names (`*` stands for anything), ` | `, and the reason.
my (@known, %used, $new, $met);
open my $known, '<', $list or die "cannot read $list\n";
while (<$known>) {
	chomp;
	next if /^#/ or !/ \| /;
	my ($name) = split / \| /;
	push @known, [ $name, join '.*', map { quotemeta } split /\*/, $name, -1 ];
}
check: for (@checks) {
	my ($good, $name) = @$_;
	if ($good) { $met++; next }
	for (@known) { if ($name =~ /^$_->[1]$/s) { $used{ $_->[0] }++; next check } }
	$new++;
	print "not met: $name\n";
}
if ($runs eq '') { $used{ $_->[0] } or print "no longer on the list: $_->[0]\n" for @known }
printf "%d checks, %d met, %d on the list, %d new\n", scalar @checks, $met // 0, @checks - ($met // 0) - ($new // 0), $new // 0;
exit($new ? 1 : 0);
