# Read by cmake after project(). The sys crate fixes ggml's instructions to those of ARMv8.0, without the dot products that
# quantised weights live on, and passes that as a cache entry; hence the force. ARM_ARCH is a value of gcc's -march; see
# wheels.sh and test-arm.sh.
set(GGML_CPU_ARM_ARCH "$ENV{ARM_ARCH}" CACHE STRING "" FORCE)
