// Of the CUDA runtime: streams, events and graphs.
#include "gpu/call.h"

using npr::gpu::call;
using npr::gpu::Device;

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return call([&](Device& device) {
    *stream = device.add_stream();
    return cudaSuccess;
  });
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call([&](Device& device) {
    device.remove_stream(stream);
    return cudaSuccess;
  });
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return call([&](Device& device) {
    if (device.stream(stream).capture) return cudaErrorStreamCaptureUnsupported;
    device.drain(device.stream(stream));
    return cudaSuccess;
  });
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call([&](Device& device) {
    if (event->stream) device.drain(*event->stream, &event->recorded);
    delete event;
    return cudaSuccess;
  });
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return call([&](Device& device) {
    if (event->stream) device.drain(*event->stream, &event->recorded);
    if (device.stream(stream).capture) return cudaErrorStreamCaptureUnsupported;  // no graph of the engine's has one
    event->recorded = false;
    event->stream = &device.stream(stream);
    device.add(stream, [event](CUstream_st&) {
      event->recorded = true;
      event->stream = nullptr;
    });
    return cudaSuccess;
  });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call([&](Device& device) {
    if (event->stream) device.drain(*event->stream, &event->recorded);
    return cudaSuccess;
  });
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  return call([&](Device& device) {
    CUstream_st& s = device.stream(stream);
    if (!stream || s.capture) return cudaErrorStreamCaptureUnsupported;
    s.capture = new CUgraph_st;
    npr::gpu::capturing() = true;
    return cudaSuccess;
  });
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return call([&](Device& device) {
    npr::gpu::capturing() = false;
    *graph = std::exchange(device.stream(stream).capture, nullptr);
    return *graph ? cudaSuccess : cudaErrorIllegalState;
  });
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  return call([&](Device& device) {
    for (const auto& work : exec->work) device.add(stream, work);
    return cudaSuccess;
  });
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}

}  // extern "C"
