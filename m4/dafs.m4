# SPDX-License-Identifier: GPL-2.0-or-later
# Checks of our own for configure.ac.

# DAFS_CHECK_ISAL: ISA-L (crc32c and crc16 at memory speed) by pkg-config, else by header and symbol.
AC_DEFUN([DAFS_CHECK_ISAL], [
	PKG_CHECK_MODULES([ISAL], [libisal], [], [
		AC_CHECK_HEADER([isa-l/crc.h], [],
			[AC_MSG_ERROR([isa-l/crc.h is missing (Debian: libisal-dev)])])
		AC_CHECK_LIB([isal], [crc32_iscsi], [ISAL_LIBS=-lisal],
			[AC_MSG_ERROR([libisal is missing (Debian: libisal-dev)])])
		AC_SUBST([ISAL_CFLAGS])
		AC_SUBST([ISAL_LIBS])
	])
])

# DAFS_TRY_CFLAG(FLAG): appends FLAG to DAFS_CFLAGS where the compiler knows it.
AC_DEFUN([DAFS_TRY_CFLAG], [
	AS_VAR_PUSHDEF([cache], [dafs_cv_cflag_$1])
	AC_CACHE_CHECK([whether $CC takes $1], [cache], [
		dafs_save_CFLAGS=$CFLAGS
		CFLAGS="$CFLAGS -Werror $1"
		AC_COMPILE_IFELSE([AC_LANG_PROGRAM()],
			[AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
		CFLAGS=$dafs_save_CFLAGS
	])
	AS_VAR_IF([cache], [yes], [DAFS_CFLAGS="$DAFS_CFLAGS $1"])
	AS_VAR_POPDEF([cache])
])

# DAFS_COMPILER_FLAGS: DAFS_CFLAGS and DAFS_LDFLAGS, for everything that is compiled and linked,
# after --enable-werror and --enable-sanitizers.
AC_DEFUN([DAFS_COMPILER_FLAGS], [
	AC_ARG_ENABLE([werror],
		[AS_HELP_STRING([--enable-werror], [treat compiler warnings as errors])],
		[], [enable_werror=no])
	AC_ARG_ENABLE([sanitizers],
		[AS_HELP_STRING([--enable-sanitizers],
			[build everything with AddressSanitizer and UndefinedBehaviorSanitizer])],
		[], [enable_sanitizers=no])
	AC_ARG_ENABLE([fuzzing],
		[AS_HELP_STRING([--enable-fuzzing],
			[link tests/fuzz with libFuzzer (clang); implies --enable-sanitizers])],
		[], [enable_fuzzing=no])
	AS_IF([test "$enable_fuzzing" != no], [enable_sanitizers=yes])

	DAFS_CFLAGS="-std=gnu17 -pthread"
	DAFS_LDFLAGS="-pthread"
	m4_foreach_w([flag], [-Wall -Wextra -Wmissing-prototypes -Wstrict-prototypes -Wpointer-arith
		-Wwrite-strings -Wvla -Wformat-security -fno-strict-aliasing],
		[DAFS_TRY_CFLAG(flag)])
	AS_IF([test "$enable_werror" != no], [DAFS_CFLAGS="$DAFS_CFLAGS -Werror"])
	AS_IF([test "$enable_sanitizers" != no], [
		dafs_san="-fsanitize=address,undefined -fno-sanitize-recover=undefined"
		DAFS_CFLAGS="$DAFS_CFLAGS $dafs_san -fno-omit-frame-pointer"
		DAFS_LDFLAGS="$DAFS_LDFLAGS $dafs_san"
		AC_DEFINE([DAFS_SANITIZED], [1], [Built with AddressSanitizer and UBSan])
	], [DAFS_LDFLAGS="$DAFS_LDFLAGS -Wl,--as-needed"])
	AS_IF([test "$enable_fuzzing" != no],
		[DAFS_CFLAGS="$DAFS_CFLAGS -fsanitize=fuzzer-no-link"])
	AC_SUBST([DAFS_CFLAGS])
	AC_SUBST([DAFS_LDFLAGS])
	AM_CONDITIONAL([SANITIZED], [test "$enable_sanitizers" != no])
	AM_CONDITIONAL([FUZZING], [test "$enable_fuzzing" != no])
])
