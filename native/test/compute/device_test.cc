// Which device a model gets.
#include "compute/device.h"

#include "check.h"
#include "error.h"
#ifdef NPR_WITH_CUDA
#include "compute/cuda/cuda_backend.h"
#endif

using namespace npr::compute;

namespace {

bool has_gpu() {
#ifdef NPR_WITH_CUDA
  return cuda_device_available();
#else
  return false;
#endif
}

std::string name(Device device, WeightFormat weights = WeightFormat::bf16) {
  return make_backend({.device = device, .cpu = {.threads = 1, .weights = weights}})->description();
}
std::string refusal(Device device, WeightFormat weights = WeightFormat::bf16) {
  try {
    name(device, weights);
  } catch (const npr::Error& error) {
    CHECK(error.code() == npr::ErrorCode::invalid_request);
    return error.what();
  }
  throw check::Failed("no exception");
}

}  // namespace

TEST(the_cpu_is_always_there) {
  CHECK(name(Device::cpu).starts_with("cpu "));
  CHECK(name(Device::cpu, WeightFormat::int8).find("int8") != std::string::npos);
}

TEST(a_gpu_is_taken_where_there_is_one) { CHECK(name(Device::automatic).starts_with(has_gpu() ? "cuda " : "cpu ")); }

TEST(what_a_gpu_can_not_do_is_left_to_the_cpu) {
  CHECK(name(Device::automatic, WeightFormat::int8).starts_with("cpu "));
}

TEST(a_gpu_that_is_not_there_is_refused) {
  if (has_gpu()) throw check::Skipped("this machine has a GPU");
  const std::string message = refusal(Device::cuda);
  CHECK(message.find("the device cuda was asked for, but this ") == 0);
}

TEST(int8_on_a_gpu_is_refused) {
  CHECK(refusal(Device::cuda, WeightFormat::int8).find("int8 are for the device cpu") != std::string::npos);
}
