// A GPU that fails in the middle of serving: requests end and say why, later ones, too. A program of its own, since
// nothing computes on the GPU after it.
#include "check.h"
#include "compute/cuda/cuda_backend.h"
#include "schedule/world.h"

using namespace npr;
using namespace test;

TEST(requests_on_a_lost_gpu_fail_as_unavailable) {
  if (!compute::cuda_device_available()) throw check::Skipped("this machine has no GPU");
  auto model = std::make_unique<model::Model>(checkpoint(), compute::make_cuda_backend({.threads = 1}),
                                              1000 * checkpoint().config().kv_shape().slot_bytes(), 32);
  std::map<RequestId, Event> ends;
  schedule::Engine engine(std::move(model), vocabulary(), {}, [&](std::vector<Event>&& events) {
    for (const Event& event : events) {
      if (event.type == Event::Type::finished || event.type == Event::Type::failed) ends.emplace(event.request, event);
    }
  });
  const auto ask = [&](RequestId id) {
    Request request;
    request.id = id;
    request.prompt = {20, 21, 22};
    request.max_tokens = 5;
    engine.submit(request);
    while (engine.step()) {
    }
    return ends.at(id);
  };
  CHECK(ask(1).type == Event::Type::finished);
  engine.exclusive([](model::Model& model) {
    // Addresses that are nobody's: the kernel fails, which shows at the next call that waits for it.
    auto* const nowhere = reinterpret_cast<float*>(uintptr_t{1} << 46);
    model.backend().rms_norm(nowhere, nowhere, 1, 1024, 0, reinterpret_cast<compute::bf16*>(nowhere));
  });
  for (const RequestId id : {2, 3}) {
    const Event end = ask(id);
    CHECK(end.type == Event::Type::failed);
    CHECK(end.code == ErrorCode::unavailable);
    CHECK(end.text.find("the GPU is lost to this process") == 0);
    engine.check_integrity();
  }
  engine.close();
}
