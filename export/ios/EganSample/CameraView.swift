import AVFoundation
import SwiftUI

/// The camera at the back: its live picture, and its frames for the model.
final class Camera: NSObject, AVCaptureVideoDataOutputSampleBufferDelegate {
    let session = AVCaptureSession()

    private let queue = DispatchQueue(label: "camera")
    private var frame: AsyncStream<Pixels>.Continuation?

    /// Returns upright frames until their reader is cancelled; those that come while one
    /// is judged are left out.
    func frames() async throws -> AsyncStream<Pixels> {
        guard await AVCaptureDevice.requestAccess(for: .video) else {
            throw EganError(
                "The sample needs the camera. Allow it in the settings, or choose a photo.")
        }
        try connect()
        return AsyncStream(bufferingPolicy: .bufferingNewest(1)) { frame in
            queue.async {
                self.frame = frame
                self.session.startRunning()
            }
            frame.onTermination = { _ in self.queue.async { self.session.stopRunning() } }
        }
    }

    private func connect() throws {
        guard session.inputs.isEmpty else { return }
        guard let camera = AVCaptureDevice.default(for: .video) else {
            throw EganError("There is no camera, as in the simulator. Choose a photo.")
        }
        let output = AVCaptureVideoDataOutput()
        output.videoSettings = [
            kCVPixelBufferPixelFormatTypeKey as String: kCVPixelFormatType_32BGRA
        ]
        output.setSampleBufferDelegate(self, queue: queue)
        session.sessionPreset = .vga640x480
        session.addInput(try AVCaptureDeviceInput(device: camera))
        session.addOutput(output)
        // Upright on a phone that is held upright, as this app always is.
        output.connection(with: .video)?.videoRotationAngle = 90
    }

    func captureOutput(
        _ output: AVCaptureOutput, didOutput sample: CMSampleBuffer,
        from connection: AVCaptureConnection
    ) {
        guard let buffer = CMSampleBufferGetImageBuffer(sample) else { return }
        CVPixelBufferLockBaseAddress(buffer, .readOnly)
        defer { CVPixelBufferUnlockBaseAddress(buffer, .readOnly) }
        guard let address = CVPixelBufferGetBaseAddress(buffer) else { return }
        let (height, stride) = (CVPixelBufferGetHeight(buffer), CVPixelBufferGetBytesPerRow(buffer))
        let bytes = UnsafeRawBufferPointer(start: address, count: height * stride)
        let width = CVPixelBufferGetWidth(buffer)
        frame?.yield(Pixels(bgra: bytes, width: width, height: height, bytesPerRow: stride))
    }
}

/// The camera's live picture: the whole of it, as the model is handed the whole of it.
struct CameraView: UIViewRepresentable {
    let session: AVCaptureSession

    final class Preview: UIView {
        override class var layerClass: AnyClass { AVCaptureVideoPreviewLayer.self }

        var picture: AVCaptureVideoPreviewLayer { layer as! AVCaptureVideoPreviewLayer }
    }

    func makeUIView(context: Context) -> Preview {
        let view = Preview()
        view.picture.session = session
        view.picture.videoGravity = .resizeAspect
        return view
    }

    func updateUIView(_ view: Preview, context: Context) {}
}
